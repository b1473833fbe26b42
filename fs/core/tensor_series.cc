#include "fs/core/tensor_series.h"

#include <algorithm>
#include <cmath>
#include <list>
#include <unordered_map>

namespace varve {
namespace {

// Of the contents before it so many are compared with one.
constexpr size_t kLookBack = 64;
// Of what lies between one and its key so many are tried.
constexpr size_t kBasesMax = 8;
// Between keys.
constexpr double kPlacesMin = 4;
constexpr double kPlacesMax = 32;
// Of the way from key to key: where the next one is due, and where one is near enough.
constexpr double kDue = 0.999;
constexpr double kNear = 0.5;
// Bits of a number by itself, coded (planes.h), measured on weights.
constexpr double kSelfBits32 = 26.7;
constexpr double kSelfBits16 = 10.6;
// Of its width: so much the newest of a run may take to read.
constexpr double kNewestBits = 0.95;
// A difference in bits that a sample can tell.
constexpr double kNearer = 0.5;
// What a difference takes beyond its bits: its class, coded.
constexpr double kClassBits = 2.2;
// d/dP of key/P + log2(P)/2 - 1/(2 ln 2) is zero at P = key / this.
constexpr double kKeyBits = 0.72;

class Planner {
 public:
  Planner(const std::vector<SeriesMember>& members, bool eager)
      : members_(members),
        eager_(eager),
        width_(SketchWidthBits(members.front().sketch)),
        self_bits_(width_ == 16 ? kSelfBits16 : kSelfBits32) {}

  std::vector<SeriesStep> Plan() {
    PutInLine();
    FindKeys();
    for (size_t begin = 0; begin < line_.size();) {
      size_t end = begin + 1;
      while (end < line_.size() && weight_[end] > 0) ++end;
      PlanRun(begin, end);
      begin = end;
    }
    std::stable_sort(planned_.begin(), planned_.end(),
                     [](const Planned& a, const Planned& b) { return a.distance < b.distance; });
    std::vector<SeriesStep> steps;
    for (Planned& planned : planned_) steps.push_back(std::move(planned.step));
    return steps;
  }

 private:
  struct Planned {
    double distance = 0;  // to its key
    SeriesStep step;
  };

  // Bits of a difference.
  double Bits(size_t a, size_t b) const {
    return SketchDistance(members_[a].sketch, members_[b].sketch) + kClassBits;
  }
  bool IsOpen(size_t member) const { return base_[member] == 0 && !key_[member]; }
  bool IsTold(size_t member) const {
    return base_[member] != 0 && base_[member] != members_[member].content;
  }

  // Of what moves at random the squares of distances add up.
  double Way(size_t a, size_t b) const { return std::exp2(2 * Bits(a, b)); }

  // On which side of the nearest one it makes the line less longer. Whoever copies a run need
  // not copy it in the order of its making.
  bool LiesBefore(size_t i, const std::list<size_t>& line, std::list<size_t>::iterator nearest) {
    const auto longer = [&](size_t other) {
      const double there = Way(*nearest, other);
      return there >= std::exp2(2 * self_bits_) ? 0 : Way(i, other) - there;
    };
    const auto next = std::next(nearest);
    const double behind = next == line.end() ? 0 : longer(*next);
    const double before = nearest == line.begin() ? 0 : longer(*std::prev(nearest));
    return before < behind;
  }

  void PutInLine() {
    const size_t count = members_.size();
    std::list<size_t> line;
    std::vector<std::list<size_t>::iterator> place(count);
    for (size_t i = 0; i < count; ++i) {
      size_t nearest = i;
      double least = self_bits_;
      // Of equals the later one, which is likelier to be what it came from.
      for (size_t j = i; j > i - std::min(i, kLookBack); --j) {
        const double bits = Bits(i, j - 1);
        if (bits >= least) continue;
        least = bits - kNearer;
        nearest = j - 1;
      }
      auto behind = line.end();
      if (nearest != i) {
        behind = place[nearest];
        if (!LiesBefore(i, line, behind)) ++behind;
      }
      place[i] = line.insert(behind, i);
    }
    line_.assign(line.begin(), line.end());
    // What of the way from key to key each place is; 0 where a run begins.
    weight_.assign(count, 0);
    for (size_t at = 1; at < count; ++at) {
      const double bits = Bits(line_[at - 1], line_[at]);
      if (bits >= self_bits_) continue;
      const double places = (self_bits_ - bits) / kKeyBits;
      weight_[at] = 1 / std::clamp(std::round(places), kPlacesMin, kPlacesMax);
    }
  }

  void FindKeys() {
    std::unordered_map<ContentId, size_t> member_of;
    for (size_t i = 0; i < members_.size(); ++i) member_of[members_[i].content] = i;
    key_.assign(members_.size(), false);
    // What is gone is nobody's base any more.
    for (const SeriesMember& member : members_)
      base_.push_back(member_of.contains(member.base) ? member.base : 0);
    for (const ContentId base : base_)
      if (base != 0 && !IsTold(member_of.at(base))) key_[member_of.at(base)] = true;
  }

  // Places [begin, end) of the line.
  void PlanRun(size_t begin, size_t end) {
    if (end - begin < 2) return;
    way_.assign(end - begin, 0);
    for (size_t at = begin + 1; at < end; ++at)
      way_[at - begin] = way_[at - begin - 1] + weight_[at];
    newest_ = *std::max_element(line_.begin() + static_cast<ptrdiff_t>(begin),
                                line_.begin() + static_cast<ptrdiff_t>(end));
    SetKeys(begin, end);
    for (size_t at = begin; at < end; ++at) {
      if (!IsOpen(line_[at])) continue;
      size_t left = at, right = at;
      while (left > begin && !key_[line_[left]]) --left;
      while (right + 1 < end && !key_[line_[right]]) ++right;
      const bool has_left = key_[line_[left]], has_right = key_[line_[right]];
      if (!has_left && !has_right) continue;
      const double to_left = way_[at - begin] - way_[left - begin];
      const double to_right = way_[right - begin] - way_[at - begin];
      const bool go_right = !has_left || (has_right && to_right < to_left);
      Add(at, go_right ? right : left, go_right ? to_right : to_left);
    }
  }

  void SetKeys(size_t begin, size_t end) {
    // What stays as it is for now may as well be one.
    for (size_t at = begin; at < end && eager_; ++at)
      if (line_[at] == newest_ && IsOpen(line_[at]) && !CanTellNewest(at)) key_[newest_] = true;
    // The next one behind each place.
    std::vector<double> next(end - begin, HUGE_VAL);
    for (size_t at = end - 1; at > begin; --at)
      next[at - 1 - begin] = key_[line_[at]] ? way_[at - begin] : next[at - begin];
    bool any = false;
    double last = kNear - kDue;  // the way from the beginning leads but to one key
    for (size_t at = begin; at < end; ++at) {
      const double way = way_[at - begin];
      const bool due = IsOpen(line_[at]) && way - last > kDue && next[at - begin] - way > kNear;
      if (!key_[line_[at]] && !due) continue;
      key_[line_[at]] = any = true;
      last = way;
    }
    // A short run: the one in the middle, or the next that can be.
    const size_t middle = (end - begin) / 2;
    for (size_t at = begin + middle; at < end && !any && eager_; ++at)
      if (IsOpen(line_[at])) key_[line_[at]] = any = true;
    for (size_t at = begin + middle; at > begin && !any && eager_; --at)
      if (IsOpen(line_[at - 1])) key_[line_[at - 1]] = any = true;
  }

  // Whether the newest of a run, told from its neighbour, would not take too much to read: that
  // takes what the neighbour is told from as well.
  bool CanTellNewest(size_t at) const {
    const double bits = std::min(at > 0 ? Bits(line_[at], line_[at - 1]) : HUGE_VAL,
                                 at + 1 < line_.size() ? Bits(line_[at], line_[at + 1]) : HUGE_VAL);
    return bits + self_bits_ <= kNewestBits * width_;
  }

  // What lies between, nearest first, and the key.
  void Add(size_t at, size_t key, double distance) {
    SeriesStep step;
    const size_t self = line_[at];
    if (step.newest && !CanTellNewest(at)) return;
    step.content = members_[self].content;
    step.newest = self == newest_;
    for (size_t other = at; other != key && step.bases.size() < kBasesMax;) {
      other = other < key ? other + 1 : other - 1;
      if (other == key) break;
      // One that stays as it is for want of gain tells nothing of others.
      if (base_[line_[other]] == members_[line_[other]].content) continue;
      if (line_[other] == newest_ && !IsTold(newest_)) continue;
      if (Bits(self, line_[other]) < self_bits_)
        step.bases.push_back(members_[line_[other]].content);
    }
    step.bases.push_back(members_[line_[key]].content);
    planned_.push_back({distance, std::move(step)});
  }

  const std::vector<SeriesMember>& members_;
  const bool eager_;
  const unsigned width_;
  const double self_bits_;
  size_t newest_ = 0;      // of the run that is planned; a member
  std::vector<bool> key_;  // by member, as the next
  std::vector<ContentId> base_;
  std::vector<size_t> line_;  // members
  std::vector<double> weight_;
  std::vector<double> way_;  // of a run, from its beginning
  std::vector<Planned> planned_;
};

}  // namespace

std::vector<SeriesStep> PlanSeries(const std::vector<SeriesMember>& members, bool eager) {
  if (members.size() < 2) return {};
  return Planner(members, eager).Plan();
}

}  // namespace varve
