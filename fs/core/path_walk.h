// Resolves a path as its caller's system calls would, through nodes of every kind.
//
// Threads:    belongs to one thread. Holds no lock; what it found may be gone when it
//             returns, but the node can be used until the walk ends.
// Permission: the caller may search every directory on the way.
// Errors:     as open(2); EXDEV for a path that does not lie in this mount.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/core/node_ops.h"

namespace varve {

class PathWalk {
 public:
  // `nodes` gives the operations of a node. `mount_point` is where absolute paths of this
  // mount begin.
  PathWalk(std::function<NodeOps&(NodeId)> nodes, std::string mount_point)
      : nodes_(std::move(nodes)), mount_point_(std::move(mount_point)) {}
  ~PathWalk();
  PathWalk(const PathWalk&) = delete;
  PathWalk& operator=(const PathWalk&) = delete;

  // Where `path` leads, seen from the live directory `start`. Symbolic links are followed.
  struct Found {
    NodeId node = 0;
    struct stat stat {};
  };
  Result<Found> Run(const Caller& caller, NodeId start, std::string_view path);

 private:
  Status Prepend(std::string_view path);

  const std::function<NodeOps&(NodeId)> nodes_;
  const std::string mount_point_;
  std::vector<NodeId> looked_up_;  // to be forgotten
  std::vector<Found> way_;         // the last one is where we are
  std::deque<std::string> left_;   // names
};

}  // namespace varve
