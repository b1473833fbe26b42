#include "fs/core/newest_checkpoint.h"

#include <algorithm>
#include <utility>

#include "fs/core/checkpoint_set.h"
#include "fs/core/content_verdict.h"
#include "fs/core/status_attributes.h"

namespace varve {
namespace {

constexpr int kLevels = 2;
constexpr size_t kAtOnce = 256;

bool Before(const struct timespec& a, const struct timespec& b) {
  return std::pair(a.tv_sec, a.tv_nsec) < std::pair(b.tv_sec, b.tv_nsec);
}

struct Candidate {
  std::string path;
  struct timespec modify_time {};
};

struct Subdirectory {
  InodeNumber inode = 0;
  std::string path;
  struct timespec modify_time {};
};

class Search {
 public:
  explicit Search(const VirtualContext& context) : context_(context) {}

  Result<std::optional<std::string>> Run(InodeNumber directory) {
    std::vector<Subdirectory> level = {{directory, "", {}}};
    for (int depth = 0; depth <= kLevels && !level.empty(); ++depth) {
      std::sort(level.begin(), level.end(), [](const Subdirectory& a, const Subdirectory& b) {
        return Before(b.modify_time, a.modify_time);
      });
      std::vector<Subdirectory> next;
      for (const Subdirectory& one : level) RETURN_IF_ERROR(LookAt(one, &next));
      level = std::move(next);
    }
    if (!best_) return std::optional<std::string>();
    return std::optional(std::move(best_->path));
  }

 private:
  struct Files {
    std::optional<struct timespec> newest;  // of the whole recognised ones
    bool unfinished = false;
    std::vector<SetMember> members;
    struct timespec newest_member {};
  };

  // Looks at the names of one directory; adds its subdirectories to `next`.
  Status LookAt(const Subdirectory& directory, std::vector<Subdirectory>* next) {
    ASSIGN_OR_RETURN(const std::vector<DirentRecord> names, Names(directory.inode));
    const std::string prefix = directory.path.empty() ? "" : directory.path + "/";
    Files files;
    for (const DirentRecord& name : names) {
      if (!S_ISREG(name.type) && !S_ISDIR(name.type)) continue;
      const Result<InodeRecord> inode = context_.live.Inode(name.inode);
      if (!inode.ok()) continue;  // removed a moment ago
      if (S_ISDIR(name.type)) {
        next->push_back({name.inode, prefix + name.name, inode->modify_time});
      } else {
        RETURN_IF_ERROR(LookAtFile(name.name, *inode, directory.path.empty(), &files));
      }
    }
    if (directory.path.empty() || files.unfinished) return Status();
    ASSIGN_OR_RETURN(const SetVerdict set, JudgeSet(context_.contents, files.members));
    if (!set.incomplete.empty()) return Status();
    if (set.is_set && !files.newest) files.newest = files.newest_member;
    if (files.newest) Offer({directory.path, *files.newest});
    return Status();
  }

  Status LookAtFile(const std::string& name, const InodeRecord& inode, bool top, Files* files) {
    files->members.push_back({name, inode.content, inode.size_bytes});
    if (Before(files->newest_member, inode.modify_time)) files->newest_member = inode.modify_time;
    if (inode.content == 0) return Status();
    Result<ContentRecord> content = History(context_.catalog).Content(inode.content);
    Status known = content.status();
    if (known.ok()) known = AddVerdict(context_.contents, inode.content, name, &*content);
    if (!known.ok()) return IsGone(known) ? Status() : known;
    const bool recognised = content->format != ContentFormat::kPlain;
    if (!IsComplete(*content)) {
      if (recognised || NamedLikeModel(name)) files->unfinished = true;
      return Status();
    }
    if (!recognised) return Status();
    if (!files->newest || Before(*files->newest, inode.modify_time)) {
      files->newest = inode.modify_time;
    }
    if (top) Offer({name, inode.modify_time});
    return Status();
  }

  Result<std::vector<DirentRecord>> Names(InodeNumber directory) {
    std::vector<DirentRecord> names;
    for (uint64_t after_slot = 0; left_ > 0;) {
      ASSIGN_OR_RETURN(std::vector<NamedEntry> some,
                       context_.live.Names(directory, after_slot, std::min(left_, kAtOnce)));
      if (some.empty()) break;
      after_slot = some.back().slot;
      left_ -= some.size();
      for (NamedEntry& entry : some) names.push_back(std::move(entry.record));
    }
    return names;
  }

  void Offer(Candidate candidate) {
    if (!best_ || Before(best_->modify_time, candidate.modify_time)) best_ = std::move(candidate);
  }

  const VirtualContext& context_;
  size_t left_ = kNamesMax;
  std::optional<Candidate> best_;
};

}  // namespace

Result<std::optional<std::string>> NewestCheckpoint(const VirtualContext& context,
                                                    InodeNumber directory) {
  return Search(context).Run(directory);
}

}  // namespace varve
