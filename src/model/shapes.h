#pragma once

/// The one legend of tensor shapes. A trailing comment such as `// (B,T,H,E)` stands on every line that changes a
/// shape.
///
///   B  rows of a microbatch
///   T  tokens of a row in this pass (queries)
///   S  tokens of a row that can be attended to (keys); S = T in training
///   N  B * T, rows and tokens in one dimension
///   D  residual width
///   H  attention heads
///   K  key/value heads, H % K == 0
///   E  width of a head
///   F  inner width of the MLP
///   V  vocabulary
///   L  layers
///   P  positions in a table
///   C  tokens of one mini-sequence (chunk)
