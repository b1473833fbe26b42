// A store in a directory of this machine, used through its Volume by paths: what a
// mount would be, without a kernel.
//
// Threads: one. Only one session has a store at a time.
// Errors:  what must not fail ends the program, with the path; what a test asks
//          for says so in its result.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fs/core/volume.h"

namespace varve::testing {

class StoreSession {
 public:
  // With hot_bytes_max == 1 nothing stays hot: stored files are read from packs.
  explicit StoreSession(const std::string& store_path, uint64_t hot_bytes_max = 1u << 30);
  // As a daemon that ends without draining.
  ~StoreSession();
  StoreSession(const StoreSession&) = delete;
  StoreSession& operator=(const StoreSession&) = delete;

  Volume& volume() { return *volume_; }
  // All that is pending is stored and committed.
  void Drain();

  void MakeDirectory(const std::string& path);
  void MakeSymlink(const std::string& path, const std::string& target);
  void MakeLink(const std::string& path, const std::string& new_path);
  void Remove(const std::string& path);
  void Rename(const std::string& from, const std::string& to);
  void SetXattr(const std::string& path, const std::string& name, const std::string& value);
  // Creates or truncates it, writes, and closes it.
  void Write(const std::string& path, const std::string& bytes);
  // Writes into the file that is there; it stays open when `close` is false.
  void WriteAt(const std::string& path, uint64_t offset, const std::string& bytes,
               bool close = true);

  Result<NodeId> Find(const std::string& path);
  Result<struct stat> Stat(const std::string& path);
  Result<std::string> Read(const std::string& path);
  Result<std::string> ReadAt(const std::string& path, uint64_t offset, size_t size);
  Result<std::string> GetXattr(const std::string& path, const std::string& name);
  Result<std::vector<std::string>> List(const std::string& path);

  // Everything that a user can see below `path`: by path, the type, mode, owner, size,
  // times, bytes, attributes, and every version of every name.
  std::map<std::string, std::string> Describe(const std::string& path = "");

 private:
  struct Parent {
    NodeId node = 0;
    std::string name;
  };
  Parent ParentOf(const std::string& path);
  void DescribeInto(const std::string& path, std::map<std::string, std::string>* all);
  std::string DescribeNode(const std::string& path, const struct stat& stat);

  class NoKernel;
  std::unique_ptr<NoKernel> kernel_;
  std::unique_ptr<Volume> volume_;
};

}  // namespace varve::testing
