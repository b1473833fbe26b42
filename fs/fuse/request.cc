#include "fs/fuse/request.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <memory>

#include "fs/fuse/errno.h"
#include "store/base/log.h"

namespace varve {
namespace {

int64_t MonotonicNs() {
  struct timespec now {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

double Seconds(int64_t duration_ns) { return static_cast<double>(duration_ns) / 1e9; }

fuse_entry_param ToParam(const Entry& entry) {
  fuse_entry_param param{};
  param.ino = entry.node;
  param.attr = entry.attributes.stat;
  param.attr_timeout = Seconds(entry.attributes.valid_ns);
  param.entry_timeout = Seconds(entry.entry_valid_ns);
  return param;
}

void FillOpened(const Opened& opened, fuse_file_info* file) {
  file->fh = opened.handle;
  file->backing_id = opened.backing_id;
  file->keep_cache = opened.keep_cache ? 1 : 0;
  file->direct_io = opened.direct_io ? 1 : 0;
  // Writers at disjoint offsets of a direct file need not wait for each other.
  file->parallel_direct_writes = opened.direct_io ? 1 : 0;
  file->noflush = opened.no_flush ? 1 : 0;
}

std::vector<gid_t> GroupsOf(fuse_req_t request) {
  std::vector<gid_t> groups(32);
  int count = fuse_req_getgroups(request, static_cast<int>(groups.size()), groups.data());
  if (count > static_cast<int>(groups.size())) {
    groups.resize(static_cast<size_t>(count));
    count = fuse_req_getgroups(request, static_cast<int>(groups.size()), groups.data());
  }
  groups.resize(static_cast<size_t>(std::clamp(count, 0, static_cast<int>(groups.size()))));
  return groups;
}

// Bytes in memory, in order.
int SendParts(fuse_req_t request, const std::vector<ByteView>& parts) {
  if (parts.size() == 1) {
    return fuse_reply_buf(request, reinterpret_cast<const char*>(parts[0].data()), parts[0].size());
  }
  std::vector<struct iovec> vectors;
  vectors.reserve(parts.size());
  for (const ByteView part : parts) {
    // The kernel only reads what a reply points to.
    vectors.push_back({const_cast<uint8_t*>(part.data()), part.size()});
  }
  return fuse_reply_iov(request, vectors.data(), static_cast<int>(vectors.size()));
}

std::vector<char>& ThreadBuffer() {
  thread_local std::vector<char> buffer;
  return buffer;
}

// Through a buffer, not spliced: for 256 MiB in requests of 1 MiB, copying cost 130 ms
// of processor time, and what libfuse does without a pipe of that size 290 ms.
void SendFromDescriptor(fuse_req_t request, const ReadReply& reply) {
  std::vector<char>& buffer = ThreadBuffer();
  if (buffer.size() < reply.size) buffer.resize(reply.size);
  size_t done = 0;
  while (done < reply.size) {
    const ssize_t got = pread(reply.descriptor, buffer.data() + done, reply.size - done,
                              static_cast<off_t>(reply.offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      LogError("reading a staging file failed: {}", Status::Errno(errno));
      fuse_reply_err(request, EIO);
      return;
    }
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  fuse_reply_buf(request, buffer.data(), done);
}

}  // namespace

Request::Request(fuse_req_t request, Operation operation)
    : request_(request),
      operation_(operation),
      context_(*static_cast<HandlerContext*>(fuse_req_userdata(request))),
      start_ns_(MonotonicNs()) {}

Request::~Request() { context_.metrics.Record(operation_, MonotonicNs() - start_ns_); }

Caller Request::GetCaller() const {
  const fuse_ctx* context = fuse_req_ctx(request_);
  Caller caller;
  caller.uid = context->uid;
  caller.gid = context->gid;
  caller.pid = context->pid;
  caller.groups = [request = request_] { return GroupsOf(request); };
  return caller;
}

bool Request::Failed(const Status& status) {
  if (status.ok()) return false;
  Reply(status);
  return true;
}

void Request::Reply(const Status& status) {
  const int os_errno = ToErrno(status);
  if (os_errno == EIO) LogError("{} failed: {}", OperationName(operation_), status);
  fuse_reply_err(request_, os_errno);
}

void Request::Reply(const Result<Entry>& entry) {
  if (Failed(entry.status())) return;
  if (entry->node == 0 && entry->entry_valid_ns <= 0) {
    fuse_reply_err(request_, ENOENT);
    return;
  }
  const fuse_entry_param param = ToParam(*entry);
  // The kernel has given up waiting: it never learns of the node.
  if (fuse_reply_entry(request_, &param) != 0 && entry->node != 0) {
    Nodes(entry->node).Forget(entry->node, 1);
  }
}

void Request::Reply(const Result<Attributes>& attributes) {
  if (Failed(attributes.status())) return;
  fuse_reply_attr(request_, &attributes->stat, Seconds(attributes->valid_ns));
}

void Request::Reply(const Result<Created>& created, fuse_file_info* file) {
  if (Failed(created.status())) return;
  const NodeId node = created->entry.node;
  const fuse_entry_param param = ToParam(created->entry);
  FillOpened(created->opened, file);
  if (fuse_reply_create(request_, &param, file) != 0) {
    Nodes(node).Release(node, created->opened.handle);
    Nodes(node).Forget(node, 1);
  }
}

void Request::Reply(const Result<ReadReply>& reply) {
  if (Failed(reply.status())) return;
  if (reply->descriptor >= 0) {
    SendFromDescriptor(request_, *reply);
  } else {
    SendParts(request_, reply->parts);
  }
}

void Request::Reply(const Result<struct statvfs>& space) {
  if (Failed(space.status())) return;
  fuse_reply_statfs(request_, &*space);
}

void Request::ReplyLink(const Result<std::string>& target) {
  if (Failed(target.status())) return;
  fuse_reply_readlink(request_, target->c_str());
}

void Request::ReplyOpened(NodeId node, const Result<Opened>& opened, fuse_file_info* file) {
  if (Failed(opened.status())) return;
  std::call_once(context_.first_open, context_.on_first_open);
  FillOpened(*opened, file);
  if (fuse_reply_open(request_, file) != 0) Nodes(node).Release(node, opened->handle);
}

void Request::ReplyOpenedDirectory(NodeId node, const Result<Opened>& opened,
                                   fuse_file_info* file) {
  if (Failed(opened.status())) return;
  file->fh = opened->handle;
  file->keep_cache = opened->keep_cache ? 1 : 0;
  file->cache_readdir = opened->cache_listing ? 1 : 0;
  if (fuse_reply_open(request_, file) != 0) Nodes(node).ReleaseDirectory(node, opened->handle);
}

void Request::ReplyWritten(const Status& status, size_t size) {
  if (Failed(status)) return;
  fuse_reply_write(request_, size);
}

void Request::ReplyCopied(const Result<size_t>& copied) {
  if (Failed(copied.status())) return;
  fuse_reply_write(request_, *copied);
}

void Request::ReplyOffset(const Result<uint64_t>& offset) {
  if (Failed(offset.status())) return;
  fuse_reply_lseek(request_, static_cast<off_t>(*offset));
}

void Request::ReplyXattr(const Result<std::string>& value, size_t size_max) {
  if (Failed(value.status())) return;
  if (size_max == 0) {
    fuse_reply_xattr(request_, value->size());
  } else if (value->size() > size_max) {
    fuse_reply_err(request_, ERANGE);
  } else {
    fuse_reply_buf(request_, value->data(), value->size());
  }
}

void Request::ReplyNothing() { fuse_reply_none(request_); }

ListingBuffer::ListingBuffer(Request& request, size_t size_max, bool plus)
    : request_(request), size_max_(size_max), plus_(plus), bytes_(ThreadBuffer()) {
  if (bytes_.size() < size_max_) bytes_.resize(size_max_);
}

bool ListingBuffer::Add(const ListedName& listed) {
  char name[NAME_MAX + 1];
  if (listed.name.size() >= sizeof(name)) return true;  // the kernel could not take it
  std::memcpy(name, listed.name.data(), listed.name.size());
  name[listed.name.size()] = '\0';

  // Without an entry the kernel learns the name and the type only: "." and "..".
  fuse_entry_param param{};
  if (listed.entry != nullptr) {
    param = ToParam(*listed.entry);
  } else {
    param.attr.st_ino = listed.node;
    param.attr.st_mode = listed.type;
  }
  char* const place = bytes_.data() + size_;
  const size_t left = size_max_ - size_;
  const auto next = static_cast<off_t>(listed.next_cookie);
  const size_t needed =
      plus_ ? fuse_add_direntry_plus(request_.raw(), place, left, name, &param, next)
            : fuse_add_direntry(request_.raw(), place, left, name, &param.attr, next);
  if (needed > left) return false;
  size_ += needed;
  if (plus_ && param.ino != 0) looked_up_.push_back(param.ino);
  return true;
}

void ListingBuffer::Reply(const Status& status) {
  if (!status.ok() && size_ == 0) {
    request_.Reply(status);
    return;
  }
  if (fuse_reply_buf(request_.raw(), bytes_.data(), size_) == 0) return;
  for (const NodeId node : looked_up_) request_.Nodes(node).Forget(node, 1);
}

}  // namespace varve
