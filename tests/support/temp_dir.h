// A directory for one test, removed with all it holds when the test ends.
//
// Threads: a value that one thread owns.
#pragma once

#include <string>

namespace varve::testing {

class TempDir {
 public:
  // Below `parent`, or below $TMPDIR (or /tmp) if that is empty. A directory that
  // cannot be made ends the program: no test can go on without it.
  explicit TempDir(const std::string& parent = {});
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  // Absolute.
  const std::string& path() const { return path_; }
  // `name` below it.
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace varve::testing
