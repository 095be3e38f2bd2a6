#pragma once

#include <string>

namespace accordion {

/// The name of the function that holds `address`, readable; "? in FILE" or "?" where none is known. Functions that only
/// their own file sees have names too (elfutils reads the files' tables of symbols). The first call reads the program's
/// and its libraries' files. Not for a signal's handler.
std::string function_at(const void* address);

}  // namespace accordion
