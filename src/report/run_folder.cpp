#include "report/run_folder.h"

#include <iostream>

#include "base/paths.h"

namespace accordion {

RunFolder::RunFolder(const std::filesystem::path& run) : made_(make_folders(run)) {
  try {
    lock_.emplace(run / ".lock", "another process trains in this run folder");
  } catch (...) {
    remove_empty(made_);
    throw;
  }
  if (!lock_->holds())
    std::cerr << "note: " << run.string()
              << ": this file system has no locks; see to it that no other process trains there\n";
}

RunFolder::~RunFolder() {
  lock_.reset();
  remove_empty(made_);
}

}  // namespace accordion
