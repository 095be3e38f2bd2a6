#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>

#include "base/names.h"

/// What memory is for, and when. Counted for CPU tensors by the allocator of memory/allocator.h, for those of a GPU by
/// what its own allocator reports (memory/device_meter.h).
namespace accordion::memory {

/// What a tensor is for, as the narrowest scope said where it was made.
enum class Kind {
  weights,      ///< in the precision of computation
  gradients,    ///< main gradients
  optimizer,    ///< moments and master weights
  activations,  ///< what a pass keeps or hands on; whatever no scope claims
  workspace,    ///< lives within a chunk, a layer's recomputation or an update
};
/// The part of a step that is under way.
enum class Phase { forward, head, backward, optimizer, other };

inline constexpr size_t kKinds = 5, kPhases = 5;

/// Bytes of live tensors by kind.
struct Holding {
  std::array<int64_t, kKinds> bytes{};
  int64_t of(Kind kind) const { return bytes[static_cast<size_t>(kind)]; }
  int64_t total() const {
    int64_t sum = 0;
    for (const int64_t part : bytes) sum += part;
    return sum;
  }
};

/// Tensors made while the scope is open are of this kind, and stay so until they are freed, wherever that happens. One
/// thread opens scopes (the one that drives training; autograd's backward runs in it too), and they hold for all
/// threads, so that what a kernel's worker allocates counts for the work that it is part of. Scopes nest.
class KindScope {
 public:
  explicit KindScope(Kind kind);
  ~KindScope();
  KindScope(const KindScope&) = delete;
  KindScope& operator=(const KindScope&) = delete;

 private:
  Kind before_;
};

/// The same for the phase.
class PhaseScope {
 public:
  explicit PhaseScope(Phase phase);
  ~PhaseScope();
  PhaseScope(const PhaseScope&) = delete;
  PhaseScope& operator=(const PhaseScope&) = delete;

 private:
  Phase before_;
};

/// What is live now.
Holding live();
/// What was live at the moment of the phase, since reset_phases(), that had the most in all; zeros where the phase has
/// not been entered since.
Holding peak_of(Phase phase);
/// Forgets the phases' peaks. The phase under way starts with what is live.
void reset_phases();

/// The counters that the allocator feeds: a few atomic additions for a tensor, a lock only where a phase reaches a new
/// peak. Public for the allocator and the timeline; everybody else uses the functions above.
class Meter {
 public:
  /// Counts a tensor of so many bytes in; -> the kind to count it out by.
  Kind add(int64_t bytes);
  void remove(Kind kind, int64_t bytes);

  Kind enter(Kind kind) { return kind_.exchange(kind); }  ///< -> the one before
  Phase enter(Phase phase);
  Phase phase() const { return phase_.load(std::memory_order_relaxed); }

  Holding live() const;
  Holding peak_of(Phase phase);
  void reset_phases();

  std::atomic<int64_t> current{0}, peak{0};

 private:
  struct Top {
    std::atomic<int64_t> bytes{0};
    Holding holding;  ///< guarded by mutex_
  };

  void raise(int64_t now);

  std::atomic<Kind> kind_{Kind::activations};
  std::atomic<Phase> phase_{Phase::other};
  std::array<std::atomic<int64_t>, kKinds> by_kind_{};
  std::array<Top, kPhases> tops_;
  std::mutex mutex_;
};

/// The only one; never destroyed, as tensors in static storage may outlive any order of destruction.
Meter& meter();

}  // namespace accordion::memory

namespace accordion {
template <>
struct Names<memory::Kind> {
  static constexpr std::array value{"weights", "gradients", "optimizer", "activations", "workspace"};
};
template <>
struct Names<memory::Phase> {
  static constexpr std::array value{"forward", "head", "backward", "optimizer", "other"};
};
}  // namespace accordion
