#pragma once

namespace accordion {

/// Opens /dev/null in the place of a standard stream that is closed: else the next file that is opened would take its
/// number, and messages would be written into that file.
void fill_closed_streams();

/// UserError where something that was printed to standard output did not arrive (a full disk).
void check_printed();

}  // namespace accordion
