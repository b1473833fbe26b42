#include "fs/core/path_walk.h"

#include <unistd.h>

#include "fs/core/access.h"

namespace varve {
namespace {

constexpr int kLinksMax = 40;  // as the kernel's

}  // namespace

PathWalk::~PathWalk() {
  for (const NodeId node : looked_up_) nodes_(node).Forget(node, 1);
}

// Puts the names of `path` before those that are left.
Status PathWalk::Prepend(std::string_view path) {
  if (path.starts_with('/')) {
    const bool here = path.starts_with(mount_point_) && !mount_point_.empty() &&
                      (path.size() == mount_point_.size() || path[mount_point_.size()] == '/');
    if (!here) return Status::Errno(EXDEV);
    path.remove_prefix(mount_point_.size());
    way_.clear();
    ASSIGN_OR_RETURN(const Attributes root, nodes_(kRootNode).GetAttributes(kRootNode, {}));
    way_.push_back({kRootNode, root.stat});
  }
  std::deque<std::string> names;
  while (!path.empty()) {
    const size_t end = std::min(path.find('/'), path.size());
    if (end > 0 && path.substr(0, end) != ".") names.emplace_back(path.substr(0, end));
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  left_.insert(left_.begin(), names.begin(), names.end());
  return Status();
}

Result<PathWalk::Found> PathWalk::Run(const Caller& caller, NodeId start, std::string_view path) {
  if (path.empty()) return Status::Errno(ENOENT);
  ASSIGN_OR_RETURN(const Attributes attributes, nodes_(start).GetAttributes(start, {}));
  way_.push_back({start, attributes.stat});
  RETURN_IF_ERROR(Prepend(path));
  for (int links = 0; !left_.empty();) {
    const std::string name = std::move(left_.front());
    left_.pop_front();
    const Found here = way_.back();
    if (!S_ISDIR(here.stat.st_mode)) return Status::Errno(ENOTDIR);
    RETURN_IF_ERROR(
        RequireAccess({here.stat.st_mode, here.stat.st_uid, here.stat.st_gid}, caller, X_OK));
    if (name == ".." && way_.size() > 1) {
      way_.pop_back();
      continue;
    }
    ASSIGN_OR_RETURN(const Entry entry, nodes_(here.node).Lookup(caller, here.node, name));
    if (entry.node == 0) return Status::Errno(ENOENT);
    looked_up_.push_back(entry.node);
    if (!S_ISLNK(entry.attributes.stat.st_mode)) {
      if (name == "..") way_.pop_back();  // above where the walk began
      way_.push_back({entry.node, entry.attributes.stat});
      continue;
    }
    if (++links > kLinksMax) return Status::Errno(ELOOP);
    ASSIGN_OR_RETURN(const std::string target, nodes_(entry.node).ReadLink(entry.node));
    RETURN_IF_ERROR(Prepend(target));
  }
  return way_.back();
}

}  // namespace varve
