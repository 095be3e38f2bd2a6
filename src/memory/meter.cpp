#include "memory/meter.h"

#include "memory/timeline.h"

namespace accordion::memory {

static_assert(Names<Kind>::value.size() == kKinds && Names<Phase>::value.size() == kPhases);

Meter& meter() {
  static auto* const only = new Meter;
  return *only;
}

Kind Meter::add(int64_t bytes) {
  const Kind kind = kind_.load(std::memory_order_relaxed);
  by_kind_[static_cast<size_t>(kind)].fetch_add(bytes);
  const int64_t now = current.fetch_add(bytes) + bytes;
  for (int64_t seen = peak.load(); seen < now && !peak.compare_exchange_weak(seen, now);) {
  }
  raise(now);
  return kind;
}

void Meter::remove(Kind kind, int64_t bytes) {
  by_kind_[static_cast<size_t>(kind)].fetch_sub(bytes);
  current.fetch_sub(bytes);
}

Phase Meter::enter(Phase phase) {
  const Phase before = phase_.exchange(phase);
  raise(current.load());
  timeline_phase();
  return before;
}

/// The kinds are read one after the other. Where other threads allocate meanwhile, their sum may differ from `now`; it
/// is the sum that counts, so that a phase's peak and its kinds always agree.
void Meter::raise(int64_t now) {
  Top& top = tops_[static_cast<size_t>(phase())];
  if (now <= top.bytes.load(std::memory_order_relaxed)) return;
  const std::lock_guard lock(mutex_);
  const Holding holding = live();
  if (holding.total() <= top.bytes.load()) return;
  top.holding = holding;
  top.bytes = holding.total();
}

Holding Meter::live() const {
  Holding holding;
  for (size_t kind = 0; kind < kKinds; ++kind) holding.bytes[kind] = by_kind_[kind].load();
  return holding;
}

Holding Meter::peak_of(Phase phase) {
  const std::lock_guard lock(mutex_);
  return tops_[static_cast<size_t>(phase)].holding;
}

void Meter::reset_phases() {
  {
    const std::lock_guard lock(mutex_);
    for (Top& top : tops_) {
      top.bytes = 0;
      top.holding = {};
    }
  }
  raise(current.load());
}

KindScope::KindScope(Kind kind) : before_(meter().enter(kind)) {}
KindScope::~KindScope() { meter().enter(before_); }
PhaseScope::PhaseScope(Phase phase) : before_(meter().enter(phase)) {}
PhaseScope::~PhaseScope() { meter().enter(before_); }

Holding live() { return meter().live(); }
Holding peak_of(Phase phase) { return meter().peak_of(phase); }
void reset_phases() { meter().reset_phases(); }

}  // namespace accordion::memory
