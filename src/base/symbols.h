#pragma once

#include <string>

namespace accordion {

/// The name of the function that holds `address`, readable; "? in FILE" or "?" where none is known. The program's own
/// functions are found in its file's table of symbols, where those have names that no other file can see; a library's
/// in what it exports. Reads the file at the first call.
std::string function_at(const void* address);

}  // namespace accordion
