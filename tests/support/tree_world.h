// A store on a simulated machine, used by paths at random, beside a tree in memory.
//
// Where CoreWorld (core_world.h) knows what every row has to be, this knows only what a
// user sees: names, bytes, attributes, links; of the live tree, of captured ones and of
// clones, nested as they come. So clones can be compared without knowing when a name gets its
// inode.
//
// Threads: belongs to one thread. Failures are GoogleTest's, with the last steps.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fs/core/path_walk.h"
#include "tests/support/random.h"
#include "tests/support/sim_store.h"

namespace varve::testing {

struct TreeNode;
using TreePointer = std::shared_ptr<TreeNode>;

struct TreeNode {
  mode_t mode = 0;
  std::map<std::string, std::string> xattrs;
  std::string bytes;   // regular files
  std::string target;  // symbolic links
  std::map<std::string, TreePointer> names;
  // What a capture may show instead while somebody writes.
  std::vector<std::string> closed = {""};
  unsigned writers = 0;
};

class TreeWorld {
 public:
  explicit TreeWorld(uint64_t seed);
  ~TreeWorld();

  void Step();
  // The whole tree, pins, and fsck.
  void Check();
  enum class Ending { kUmount, kProcessDeath, kPowerCut };
  // Ends this life and begins the next one. A power cut comes when all is durable.
  void Restart(Ending ending);

  struct Counters {
    uint64_t steps = 0, done = 0, clones = 0, clones_of_pins = 0, pins = 0, pins_seen = 0;
    uint64_t nodes_compared = 0;
  };
  const Counters& counters() const { return counters_; }

 private:
  struct Place {
    std::string directory;  // path, "." for the root
    TreePointer node;
    std::string name;
    std::string path() const { return directory == "." ? name : directory + "/" + name; }
  };
  struct Handle {
    TreePointer node;
    NodeId id = 0;
    HandleId handle = 0;
  };
  struct Pin {
    std::string name;  // no other pin of the store has it
    TreePointer directory;
    TreePointer tree;
  };

  void Fail(const std::string& why);
  // Counts the step, and fails unless it ended as it has to.
  bool Ended(const std::string& what, const Status& status, int expected = 0);
  NodeOps& Ops(NodeId node) { return store_.parts().Nodes(node); }
  std::unique_ptr<PathWalk> Walk();

  // Of the model.
  Place AnyPlace();
  std::optional<Place> AnyName();
  TreePointer Child(const Place& place) const;
  std::optional<std::string> PathOf(const TreePointer& node) const;
  static bool Contains(const TreePointer& above, const TreePointer& node);
  static TreePointer Copy(const TreePointer& node);
  static uint64_t Size(const TreePointer& node);
  static void Settle(const TreePointer& node);
  std::string AnyBytes();

  // Steps.
  void Save(const Place& place, bool truncate);
  void ChangeInPlace(const Place& place);
  void OpenToWrite(const Place& place);
  void UseHandle();
  void CloseHandle(size_t index);
  void MakeDirectory(const Place& place);
  void MakeLink(const Place& from, const Place& to);
  void MakeSymlink(const Place& place);
  void SetXattr(const Place& place);
  void Remove(const Place& place);
  void RemoveAll(const Place& place);
  void Rename(const Place& from, const Place& to, unsigned flags);
  void Clone();
  void PinSome();
  void Unpin();
  void ComparePin(const Pin& pin);
  void Background();

  // `path` shows what `node` says. Where somebody writes, what is shown becomes the model's.
  void Compare(const std::string& path, const TreePointer& node, bool settle);
  void CompareNode(NodeId id, const struct stat& stat, const std::string& path,
                   const TreePointer& node, bool settle);
  std::string ReadFile(NodeId id);

  Random random_;
  SimStore store_;
  TreePointer root_;
  std::vector<Handle> handles_;
  std::vector<Pin> pins_;
  uint64_t last_pin_ = 0;
  std::vector<std::string> blobs_;
  Counters counters_;
  std::deque<std::string> notes_;
};

}  // namespace varve::testing
