// A FakeVolume, mounted for real in this process.
//
// Threads: made and destroyed by one thread; the session has its own.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "fs/fuse/session.h"
#include "tests/support/fake_volume.h"
#include "tests/support/temp_dir.h"

namespace varve::testing {

class FakeMount {
 public:
  // Whether this machine lets us mount at all.
  static bool Possible();

  explicit FakeMount(const std::function<void(SessionOptions*)>& adjust = nullptr);
  ~FakeMount();
  FakeMount(const FakeMount&) = delete;
  FakeMount& operator=(const FakeMount&) = delete;

  const std::string& path() const { return options_.mount_point; }
  std::string operator/(const std::string& name) const { return path() + "/" + name; }
  FakeVolume& volume() { return *volume_; }
  Session& session() { return *session_; }
  // Unmounts and waits until the session has ended.
  void Stop();

 private:
  TempDir store_;
  TempDir mount_point_;
  SessionOptions options_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<FakeVolume> volume_;
  std::thread thread_;
};

}  // namespace varve::testing
