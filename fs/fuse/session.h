// One mount: the kernel on one side, a Volume on the other.
//
// Order of life:
//
//   Session::Open() -> OpenVolume(…, session.channel()) -> Mount(volume) -> Serve()
//
// Serve() returns when the filesystem was unmounted, by whomever, or after Stop().
// It unmounts what is still mounted before it returns, so that no request waits
// for a daemon that is draining. The volume outlives Serve().
//
// Threads: Stop() may be called at any time from any thread, not from a signal
//          handler. All others: one thread.
// Errors:  a context is a sentence for the user.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fs/core/volume.h"
#include "fs/fuse/kernel_link.h"
#include "fs/fuse/metrics.h"
#include "store/base/mutex.h"
#include "store/base/result.h"

namespace varve {

struct SessionOptions {
  std::string mount_point;  // absolute
  std::string store_path;   // absolute; what mountinfo shows as the source
  std::string version;
  bool passthrough = true;
  bool io_uring = false;                                   // FUSE over io_uring
  std::string io_uring_reason = "off unless -o io_uring";  // told if !io_uring
  bool allow_other = false;
  // "ro", "nodev", "noatime", …, as mount(8) has them, later ones winning.
  std::vector<std::string> mount_flags;
  unsigned threads_max = 16;  // that answer requests
};

class Session {
 public:
  static Result<std::unique_ptr<Session>> Open(SessionOptions options);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  KernelChannel& channel();
  const Metrics& metrics() const;

  Status Mount(Volume& volume);
  // `on_live` is called once, by one of the session's threads, when the kernel has
  // connected; requests are answered from then on.
  Status Serve(const std::function<void()>& on_live);
  // Unmounts; if the mount is in use, ends it all the same: whoever has files open
  // there gets ENOTCONN.
  void Stop();

 private:
  class Impl;
  explicit Session(std::unique_ptr<Impl> impl);

  const std::unique_ptr<Impl> impl_;
};

}  // namespace varve
