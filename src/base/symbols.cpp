#include "base/symbols.h"

#include <cxxabi.h>
#include <elfutils/libdwfl.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>

namespace accordion {
namespace {

constexpr size_t kLongestName = 160;  // letters; templates have thousands

/// Debug information that lies elsewhere is not looked for: that may ask a server.
int no_debug_information(Dwfl_Module*, void**, const char*, Dwarf_Addr, const char*, const char*, GElf_Word, char**) {
  return -1;
}

/// This process's program and libraries; null where they cannot be listed.
Dwfl* loaded_files() {
  static constexpr Dwfl_Callbacks kHow = {.find_elf = dwfl_linux_proc_find_elf,
                                          .find_debuginfo = no_debug_information,
                                          .section_address = nullptr,
                                          .debuginfo_path = nullptr};
  Dwfl* const files = ::dwfl_begin(&kHow);
  const bool listed = files != nullptr && ::dwfl_linux_proc_report(files, ::getpid()) == 0 &&
                      ::dwfl_report_end(files, nullptr, nullptr) == 0;
  return listed ? files : nullptr;
}

/// As the compiler writes it -> as in the sources. A part that the compiler has set apart is named like its function.
std::string readable(std::string name) {
  name = name.substr(0, name.find('.'));  // .cold, .part.0
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> demangled(
      abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status), &std::free);
  return (status == 0 ? std::string(demangled.get()) : name).substr(0, kLongestName);
}

}  // namespace

std::string function_at(const void* address) {
  static Dwfl* const files = loaded_files();
  const auto place = reinterpret_cast<Dwarf_Addr>(address);
  Dwfl_Module* const file = files != nullptr ? ::dwfl_addrmodule(files, place) : nullptr;
  if (file == nullptr) return "?";
  if (const char* name = ::dwfl_module_addrname(file, place)) return readable(name);
  const char* path = ::dwfl_module_info(file, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr);
  return std::string("? in ") + (path != nullptr ? path : "?");
}

}  // namespace accordion
