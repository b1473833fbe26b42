#include "fs/core/series_recoder.h"

#include <algorithm>
#include <optional>
#include <span>
#include <tuple>
#include <utility>

#include "fs/core/chunk_reads.h"
#include "fs/core/row_pages.h"
#include "fs/core/tensor_chunks.h"

namespace varve {
namespace {

// Of all that has to be read for a chunk, its bases' chunks included, to its raw size. What is
// likely to be read next stays cheaper to read than as a plain file.
constexpr double kReadMost = 1.66;
constexpr double kReadMostNewest = 0.95;
// A cast takes nothing itself, but its source may have twice its bytes; as a difference, though,
// that would take thrice.
constexpr double kReadMostCast = 2.1;
// That are tried.
constexpr size_t kSourcesMax = 4;
// Links of a chain; a reader would take more (chunk_reads.h).
constexpr size_t kLinksMost = 4;
static_assert(kLinksMost < kBaseLinksMax);
constexpr size_t kTasksAtOnce = 16;
// A difference has to save this much of what the chunk takes.
constexpr double kKept = 0.99;
// A chunk is about as far from a base as that was from its own; half as much is not likely.
constexpr double kHopeful = 0.6;
// Of one signature; earlier ones are left as they are.
constexpr size_t kMembersMax = 1u << 14;

}  // namespace

class SeriesRecoder::Pass {
 public:
  Pass(SeriesRecoder& parent, uint64_t room_bytes)
      : d_(parent.d_),
        pause_(parent.pause_),
        tried_(parent.tried_),
        recoder_(d_.catalog, d_.packs),
        room_bytes_(room_bytes) {}

  Status All(bool eager) {
    RETURN_IF_ERROR(FindHeads());
    RETURN_IF_ERROR(Casts());
    std::sort(heads_.begin(), heads_.end(), [](const Head& a, const Head& b) {
      return std::pair(a.signature, a.content) < std::pair(b.signature, b.content);
    });
    for (size_t begin = 0; begin < heads_.size();) {
      size_t end = begin + 1;
      while (end < heads_.size() && heads_[end].signature == heads_[begin].signature) ++end;
      if (end - begin > 1)
        RETURN_IF_ERROR(Group(std::span(heads_).subspan(begin, end - begin), eager));
      begin = end;
    }
    return Status();
  }
  const ChunkRecoder::Counts& counts() const { return recoder_.counts(); }

 private:
  // A chunk that may be recoded, and what it may be told from.
  struct Candidate {
    ChunkTask task;
    std::vector<TensorChunks::Found> bases;  // to be tried in this order
  };

  Status GoOn() const {
    return pause_() ? Status() : Status(Code::kBusy, "the collection was stopped");
  }

  // Head by head: the maps themselves are long.
  Status FindHeads() {
    const key::Range table = key::Table(key::kTensorMap);
    for (std::string from = table.begin;;) {
      std::optional<Head> found;
      RETURN_IF_ERROR(
          d_.catalog.Scan(from, table.end, [&](std::string_view row_key, std::string_view row) {
            const Result<TensorHead> head = DecodeTensorHead(row);
            // A part without its head, or one that is damaged: fsck's business.
            found = Head{.content = key::Id(row_key)};
            if (head.ok() && !head->sketch.empty()) {
              found->signature = head->signature;
              found->base = head->base;
              found->architecture = head->architecture;
              found->rounded = RoundedHash(head->sketch);
            }
            return false;
          }));
      if (!found) break;
      if (found->signature != 0) heads_.push_back(*found);
      from = key::TensorMap(found->content + 1, 0);
      RETURN_IF_ERROR(GoOn());
    }
    return Status();
  }

  // Contents of one architecture whose numbers, rounded, are the same, in different types: one
  // is an export of the other.
  Status Casts() {
    const auto key = [](const Head& head) {
      return std::tuple(head.architecture, head.rounded, head.content);
    };
    std::sort(heads_.begin(), heads_.end(),
              [&](const Head& a, const Head& b) { return key(a) < key(b); });
    for (size_t begin = 0; begin < heads_.size();) {
      size_t end = begin + 1;
      while (end < heads_.size() && heads_[end].architecture == heads_[begin].architecture &&
             heads_[end].rounded == heads_[begin].rounded)
        ++end;
      const std::span<Head> alike = std::span(heads_).subspan(begin, end - begin);
      begin = end;
      if (alike.front().architecture == 0) continue;
      for (Head& head : alike) RETURN_IF_ERROR(CastOne(head, alike));
    }
    return Status();
  }

  Status CastOne(Head& head, std::span<const Head> alike) {
    if (head.base != 0 || tried_.contains(head.content)) return Status();
    SeriesStep step;
    step.content = head.content;
    for (const Head& other : alike) {
      // What is made from this one cannot be what it is made from.
      if (other.signature == head.signature || other.base == head.content) continue;
      step.bases.push_back(other.content);
      if (step.bases.size() == kSourcesMax) break;
    }
    if (step.bases.empty()) return Status();
    RETURN_IF_ERROR(CheckRoom());
    most_ = kReadMostCast;
    RETURN_IF_ERROR(Content(step));
    if (recoded_ == 0) {
      tried_.insert(head.content);
      return Status();
    }
    head.base = step.bases.front();
    return Note(step.content, head.base);
  }

  Status CheckRoom() const {
    RETURN_IF_ERROR(GoOn());
    if (recoder_.appended_bytes() <= room_bytes_) return Status();
    return Status(Code::kNoSpace, "the room for recoding is used up");
  }

  // Another content of the group, or one that is gone: then it is judged anew. What is made from
  // contents of other signatures is settled.
  static bool IsSettled(const Head& head, const std::unordered_set<ContentId>& group,
                        const std::unordered_set<ContentId>& all) {
    return head.base != 0 && all.contains(head.base) && !group.contains(head.base);
  }

  Status Group(std::span<const Head> heads, bool eager) {
    heads = heads.last(std::min(heads.size(), kMembersMax));
    if (!HasWork(heads)) return Status();
    if (contents_.empty())
      for (const Head& head : heads_) contents_.insert(head.content);
    std::unordered_set<ContentId> group;
    for (const Head& head : heads) group.insert(head.content);
    std::vector<SeriesMember> members;
    for (const Head& one : heads) {
      if (IsSettled(one, group, contents_)) continue;
      ASSIGN_OR_RETURN(std::optional<TensorHead> head, FindTensorHead(d_.catalog, one.content));
      if (head) members.push_back({one.content, head->base, std::move(head->sketch)});
    }
    for (const SeriesStep& step : PlanSeries(members, eager)) {
      if (step.newest && tried_.contains(step.content)) continue;
      RETURN_IF_ERROR(CheckRoom());
      most_ = step.newest ? kReadMostNewest : kReadMost;
      RETURN_IF_ERROR(Content(step));
      if (recoded_ == 0 && step.newest) {
        tried_.insert(step.content);
      } else {
        RETURN_IF_ERROR(Note(step.content, recoded_ == 0 ? step.content : step.bases.front()));
      }
    }
    return Status();
  }

  // What is neither judged nor a base, besides the last one.
  static bool HasWork(std::span<const Head> heads) {
    std::unordered_set<ContentId> bases;
    for (const Head& head : heads) bases.insert(head.base);
    return std::any_of(heads.begin(), heads.end(), [&](const Head& head) {
      return head.base == 0 && !bases.contains(head.content);
    });
  }

  Status Content(const SeriesStep& step) {
    recoded_ = 0;
    ASSIGN_OR_RETURN(std::optional<TensorChunks> chunks,
                     TensorChunks::Open(d_.catalog, step.content));
    if (!chunks) return Status();
    std::vector<TensorChunks> bases;
    for (const ContentId content : step.bases) {
      ASSIGN_OR_RETURN(std::optional<TensorChunks> base, TensorChunks::Open(d_.catalog, content));
      if (base) bases.push_back(*std::move(base));
    }
    if (bases.empty()) return Status();
    RETURN_IF_ERROR(FindBases());
    std::unordered_set<ChunkId, ChunkIdHash> seen;
    std::vector<Candidate> some;
    RETURN_IF_ERROR(chunks->ForEach([&](const TensorChunk& chunk) -> Status {
      if (!seen.insert(chunk.id).second) return Status();
      ASSIGN_OR_RETURN(std::optional<Candidate> candidate, Judge(chunk, bases));
      if (candidate) some.push_back(*std::move(candidate));
      return some.size() < kTasksAtOnce ? Status() : Recode(std::exchange(some, {}));
    }));
    RETURN_IF_ERROR(Recode(std::move(some)));
    unsettled_.clear();
    return recoder_.Settle();
  }

  // Chunks that something is told from.
  Status FindBases() {
    if (std::exchange(bases_found_, true)) return Status();
    RETURN_IF_ERROR(
        ForEachPage(d_.catalog, key::Table(key::kChunk), [&](const RowPage& page) -> Status {
          for (const auto& [row_key, row] : page) {
            const Result<ChunkLocation> location = DecodeLocation(row);
            if (location.ok() && HasBase(location->encoding)) bases_.Add(ShortName(location->base));
          }
          return GoOn();
        }));
    bases_.Settle();
    return Status();
  }

  bool IsBase(const ChunkId& id) const {
    return bases_.Has(ShortName(id)) || new_bases_.contains(id);
  }

  // Nothing for a chunk that stays as it is.
  Result<std::optional<Candidate>> Judge(const TensorChunk& chunk,
                                         std::vector<TensorChunks>& bases) {
    if (IsBase(chunk.id)) return std::optional<Candidate>();
    ASSIGN_OR_RETURN(const std::optional<ChunkLocation> from, FindLocation(d_.catalog, chunk.id));
    if (!from || HasBase(from->encoding) || from->raw_bytes != chunk.size_bytes)
      return std::optional<Candidate>();
    Candidate candidate;
    candidate.task.id = chunk.id;
    candidate.task.from = *from;
    candidate.task.elements = chunk.elements;
    for (TensorChunks& base : bases) {
      ASSIGN_OR_RETURN(const std::optional<TensorChunks::Found> found, base.Find(chunk));
      if (!found) continue;
      // It did not change.
      if (found->id == chunk.id) return std::optional<Candidate>();
      if (found->elements == chunk.elements || CanCast(found->elements, chunk.elements))
        candidate.bases.push_back(*found);
    }
    if (candidate.bases.empty()) return std::optional<Candidate>();
    return std::optional<Candidate>(std::move(candidate));
  }

  // How long the chunk may be as a difference from `base`; 0: not at all.
  Result<size_t> Allowed(const ChunkTask& task, const ChunkId& base) {
    double bytes = 0;
    double likely = 0;
    ChunkId link = base;
    for (size_t links = 1;; ++links) {
      ASSIGN_OR_RETURN(const std::optional<ChunkLocation> place, FindLocation(d_.catalog, link));
      if (!place || links > kLinksMost || link == task.id) return size_t{0};
      bytes += place->stored_bytes;
      if (!HasBase(place->encoding)) break;
      if (links == 1 && task.base_elements == task.elements)
        likely = kHopeful * place->stored_bytes;
      link = place->base;
    }
    const double allowed =
        std::min(kKept * task.from.stored_bytes, most_ * task.from.raw_bytes - bytes);
    return allowed <= std::max(likely, 1.0) ? size_t{0} : static_cast<size_t>(allowed);
  }

  // Each with its first base that is allowed; what that does not help, with the next one.
  Status Recode(std::vector<Candidate> candidates) {
    for (auto& candidate : candidates) std::reverse(candidate.bases.begin(), candidate.bases.end());
    while (!candidates.empty()) {
      std::vector<ChunkTask> tasks;
      // Of these one must not be made from another, which may be made from it.
      std::unordered_set<ChunkId, ChunkIdHash> ids, bases;
      for (Candidate& candidate : candidates) {
        ChunkTask& task = candidate.task;
        for (task.bytes_max = 0; task.bytes_max == 0 && !candidate.bases.empty();) {
          task.base = candidate.bases.back().id;
          task.base_elements = candidate.bases.back().elements;
          candidate.bases.pop_back();
          const bool is_base = bases.contains(task.id) || IsBase(task.id);
          if (is_base || ids.contains(task.base) || unsettled_.contains(task.base)) continue;
          ASSIGN_OR_RETURN(task.bytes_max, Allowed(task, task.base));
        }
        if (task.bytes_max == 0) continue;
        ids.insert(task.id);
        bases.insert(task.base);
        tasks.push_back(task);
      }
      RETURN_IF_ERROR(recoder_.Recode(tasks));
      std::unordered_set<ChunkId, ChunkIdHash> done;
      for (const ChunkTask& task : tasks) {
        if (!task.done) continue;
        done.insert(task.id);
        unsettled_.insert(task.id);
        new_bases_.insert(task.base);
        ++recoded_;
      }
      std::erase_if(candidates, [&](const Candidate& candidate) {
        return candidate.bases.empty() || done.contains(candidate.task.id);
      });
      RETURN_IF_ERROR(GoOn());
    }
    return Status();
  }

  Status Note(ContentId content, ContentId base) {
    ASSIGN_OR_RETURN(std::optional<TensorHead> head, FindTensorHead(d_.catalog, content));
    if (!head) return Status();  // its content went meanwhile
    head->base = base;
    Batch batch;
    batch.Put(key::TensorMap(content, 0), EncodeTensorHead(*head));
    return d_.catalog.Apply(batch);
  }

  const Dependencies& d_;
  const std::function<bool()>& pause_;
  std::unordered_set<ContentId>& tried_;
  ChunkRecoder recoder_;
  const uint64_t room_bytes_;
  std::vector<Head> heads_;
  std::unordered_set<ContentId> contents_;  // of all heads
  bool bases_found_ = false;
  IdSet bases_;  // eight bytes of each name
  std::unordered_set<ChunkId, ChunkIdHash> new_bases_;
  std::unordered_set<ChunkId, ChunkIdHash> unsettled_;  // recoded, of the content at hand
  double most_ = 0;
  size_t recoded_ = 0;  // chunks of the content that is at hand
};

Result<ChunkRecoder::Counts> SeriesRecoder::Run(bool eager, uint64_t room_bytes) {
  Pass pass(*this, room_bytes);
  const Status status = pass.All(eager);
  // It goes on when there is room again.
  if (!status.ok() && status.code() != Code::kNoSpace) return status;
  return pass.counts();
}

}  // namespace varve
