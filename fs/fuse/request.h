// One request of the kernel while it is answered: who asks, and the replies.
//
// A handler (handlers_*.cc) makes a Request, calls one method of the core with what
// it decoded, and gives the Result to the Reply method of that kind; so counting,
// timing, error mapping and undoing what the kernel never received are here,
// once. Core returns before the reply is sent, so no lock of core is held then.
//
// Threads: a Request belongs to one thread.
// Errors:  through ToErrno(). An I/O error or damage is logged with its context.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "fs/core/node_ops.h"
#include "fs/core/volume.h"
#include "fs/fuse/libfuse.h"
#include "fs/fuse/metrics.h"
#include "store/base/result.h"

namespace varve {

// What all handlers of a session share: libfuse's user data.
struct HandlerContext {
  Volume* volume = nullptr;
  Metrics metrics;
  std::function<void(fuse_conn_info*)> on_init;
  // Before the first open is answered: the kernel has taken the answer to INIT.
  std::function<void()> on_first_open;
  std::once_flag first_open;
};

class Request {
 public:
  Request(fuse_req_t request, Operation operation);
  ~Request();
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  NodeOps& Nodes(NodeId node) { return context_.volume->Nodes(node); }
  // The kernel has taken the umask off every mode already, so it is 0 here.
  Caller GetCaller() const;
  fuse_req_t raw() const { return request_; }

  void Reply(const Status& status);
  void Reply(const Result<Entry>& entry);
  void Reply(const Result<Attributes>& attributes);
  void Reply(const Result<Created>& created, fuse_file_info* file);
  void Reply(const Result<ReadReply>& reply);
  void Reply(const Result<struct statvfs>& space);
  void ReplyLink(const Result<std::string>& target);
  void ReplyOpened(NodeId node, const Result<Opened>& opened, fuse_file_info* file);
  void ReplyOpenedDirectory(NodeId node, const Result<Opened>& opened, fuse_file_info* file);
  void ReplyWritten(const Status& status, size_t size);
  void ReplyCopied(const Result<size_t>& copied);
  void ReplyOffset(const Result<uint64_t>& offset);
  // `size_max` 0 asks how large the value is.
  void ReplyXattr(const Result<std::string>& value, size_t size_max);
  void ReplyNothing();  // FORGET

 private:
  friend class ListingBuffer;
  // Replies with the error, if it is one.
  bool Failed(const Status& status);

  const fuse_req_t request_;
  const Operation operation_;
  HandlerContext& context_;
  const int64_t start_ns_;
};

// Collects a directory's entries in the kernel's format.
class ListingBuffer {
 public:
  ListingBuffer(Request& request, size_t size_max, bool plus);

  // A ListingSink.
  bool Add(const ListedName& listed);
  // An error only counts if nothing was collected: else it comes again.
  void Reply(const Status& status);

 private:
  Request& request_;
  const size_t size_max_;
  const bool plus_;
  size_t size_ = 0;
  std::vector<char>& bytes_;       // of this thread
  std::vector<NodeId> looked_up_;  // what the kernel owes a Forget for
};

}  // namespace varve
