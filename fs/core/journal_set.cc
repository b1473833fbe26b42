#include "fs/core/journal_set.h"

#include <algorithm>
#include <utility>

namespace varve {

Result<JournalSet> JournalSet::Find(PackStore& packs) {
  JournalSet set;
  for (const uint32_t pack : packs.Packs()) {
    ASSIGN_OR_RETURN(const std::vector<JournalInfo> journals, packs.JournalsOf(pack));
    for (const JournalInfo& info : journals) set.Add(pack, info);
  }
  return set;
}

void JournalSet::Add(uint32_t pack, const JournalInfo& info) {
  const JournalPlace place{pack, info.offset_bytes, info.label};
  newest_sequence_ = std::max(newest_sequence_, info.label.sequence);
  if (info.label.part == 0) {
    ordinary_.push_back(place);
  } else {
    AddPart(place);
  }
}

void JournalSet::AddPart(const JournalPlace& place) {
  const bool follows = attempt_.empty() ? place.label.part == 1
                                        : attempt_.back().label.sequence == place.label.sequence &&
                                              attempt_.back().label.part + 1 == place.label.part;
  if (!follows) {
    if (!attempt_.empty() || place.label.parts != 0) ++unfinished_;
    attempt_.clear();
    if (place.label.part != 1) return;
  }
  attempt_.push_back(place);
  if (place.label.parts == 0) return;
  std::vector<JournalPlace> whole = std::exchange(attempt_, {});
  if (place.label.parts != place.label.part) {
    ++unfinished_;
  } else if (!base_ || base_->front().label.sequence <= place.label.sequence) {
    base_ = std::move(whole);
  }
}

std::optional<uint64_t> JournalSet::base_sequence() const {
  if (!base_) return std::nullopt;
  return base_->front().label.sequence;
}

std::vector<JournalPlace> JournalSet::InOrder() const {
  std::vector<JournalPlace> places;
  if (base_) places = *base_;
  const auto begin = static_cast<std::ptrdiff_t>(places.size());
  for (const JournalPlace& place : ordinary_)
    if (!base_ || place.label.sequence > base_->front().label.sequence) places.push_back(place);
  // A commit in several records has them in their order.
  std::stable_sort(places.begin() + begin, places.end(),
                   [](const JournalPlace& a, const JournalPlace& b) {
                     return a.label.sequence < b.label.sequence;
                   });
  return places;
}

std::set<uint32_t> JournalSet::NeededPacks() const {
  std::set<uint32_t> packs;
  for (const JournalPlace& place : InOrder()) packs.insert(place.pack);
  return packs;
}

}  // namespace varve
