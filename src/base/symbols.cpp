#include "base/symbols.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "base/files.h"

namespace accordion {
namespace {

constexpr size_t kLongestName = 160;  // letters; templates have thousands

struct Function {
  uintptr_t begin, size;  // counted from where the program's file is loaded
  std::string name;
};

/// Where the program's own file lies in memory.
uintptr_t program_base() {
  uintptr_t base = 0;
  const auto first = [](dl_phdr_info* info, size_t, void* found) {
    *static_cast<uintptr_t*>(found) = info->dlpi_addr;
    return 1;  // the program comes before its libraries
  };
  ::dl_iterate_phdr(first, &base);
  return base;
}

template <class T>
T value_at(std::string_view file, uint64_t offset) {
  T value = {};
  if (offset <= file.size() && sizeof value <= file.size() - offset)
    std::memcpy(&value, file.data() + offset, sizeof value);
  return value;
}

/// The functions of an ELF file's table of symbols, by their place; none where it was stripped.
std::vector<Function> functions_of(std::string_view file) {
  std::vector<Function> functions;
  const auto header = value_at<ElfW(Ehdr)>(file, 0);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return functions;
  const auto section = [&](size_t i) { return value_at<ElfW(Shdr)>(file, header.e_shoff + i * sizeof(ElfW(Shdr))); };
  for (size_t i = 0; i < header.e_shnum; ++i) {
    const auto table = section(i);
    if (table.sh_type != SHT_SYMTAB) continue;
    const auto names = section(table.sh_link);
    for (uint64_t at = 0; at + sizeof(ElfW(Sym)) <= table.sh_size; at += sizeof(ElfW(Sym))) {
      const auto symbol = value_at<ElfW(Sym)>(file, table.sh_offset + at);
      if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || symbol.st_size == 0) continue;
      const auto place = std::min<uint64_t>(names.sh_offset + symbol.st_name, file.size());
      const auto rest = file.substr(place);
      functions.push_back({symbol.st_value, symbol.st_size, std::string(rest.substr(0, rest.find('\0')))});
    }
  }
  std::sort(functions.begin(), functions.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
  return functions;
}

std::vector<Function> own_functions() try {
  const MappedFile file("/proc/self/exe");
  return functions_of({reinterpret_cast<const char*>(file.data()), file.size()});
} catch (const std::exception&) {  // the name of a function is not worth a second error
  return {};
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
  static const auto functions = own_functions();
  const auto place = reinterpret_cast<uintptr_t>(address) - program_base();
  const auto after = std::upper_bound(functions.begin(), functions.end(), place,
                                      [](uintptr_t at, const Function& function) { return at < function.begin; });
  if (after != functions.begin() && place - std::prev(after)->begin < std::prev(after)->size)
    return readable(std::prev(after)->name);
  Dl_info info = {};
  if (::dladdr(address, &info) == 0) return "?";
  return info.dli_sname != nullptr ? readable(info.dli_sname) : std::string("? in ") + info.dli_fname;
}

}  // namespace accordion
