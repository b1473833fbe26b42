#include "store/uring/ring.h"

#include <liburing.h>
#include <sys/uio.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "store/base/check.h"

namespace varve {
namespace {

Status Unsupported(const std::string& what, int os_errno) {
  return Status(Code::kUnsupported, what + ": " + std::strerror(os_errno));
}

bool SupportsOperations(io_uring* ring) {
  io_uring_probe* probe = io_uring_get_probe_ring(ring);
  if (probe == nullptr) return false;
  bool supported = true;
  for (const int operation :
       {IORING_OP_READ, IORING_OP_WRITE, IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED}) {
    supported = supported && io_uring_opcode_supported(probe, operation) != 0;
  }
  io_uring_free_probe(probe);
  return supported;
}

}  // namespace

struct Ring::State {
  io_uring ring{};
  bool open = false;
  bool registered = false;
  unsigned queued = 0;
  std::atomic<unsigned> in_flight = 0;

  ~State() {
    if (open) io_uring_queue_exit(&ring);
  }
};

Ring::Ring(std::unique_ptr<State> state) : state_(std::move(state)) {}

Ring::~Ring() { CHECK(in_flight() == 0); }

Result<std::unique_ptr<Ring>> Ring::Open(unsigned operations_max) {
  auto state = std::make_unique<State>();
  const int failure = io_uring_queue_init(operations_max, &state->ring, 0);
  if (failure < 0) return Unsupported("io_uring is not available here", -failure);
  state->open = true;
  if (!SupportsOperations(&state->ring)) {
    return Status(Code::kUnsupported, "the kernel's io_uring lacks read and write");
  }
  return std::unique_ptr<Ring>(new Ring(std::move(state)));
}

void Ring::RegisterBuffers(std::span<const MutableBytes> buffers) {
  std::vector<iovec> vectors;
  for (const MutableBytes& buffer : buffers) vectors.push_back({buffer.data(), buffer.size()});
  state_->registered = io_uring_register_buffers(&state_->ring, vectors.data(),
                                                 static_cast<unsigned>(vectors.size())) == 0;
}

void Ring::PrepareRead(const Operation& operation, MutableBytes out) {
  io_uring_sqe* entry = io_uring_get_sqe(&state_->ring);
  CHECK(entry != nullptr);
  const auto size = static_cast<unsigned>(out.size());
  if (state_->registered && operation.buffer >= 0) {
    io_uring_prep_read_fixed(entry, operation.descriptor, out.data(), size, operation.offset,
                             operation.buffer);
  } else {
    io_uring_prep_read(entry, operation.descriptor, out.data(), size, operation.offset);
  }
  io_uring_sqe_set_data64(entry, operation.tag);
  ++state_->queued;
}

void Ring::PrepareWrite(const Operation& operation, ByteView bytes) {
  io_uring_sqe* entry = io_uring_get_sqe(&state_->ring);
  CHECK(entry != nullptr);
  const auto size = static_cast<unsigned>(bytes.size());
  if (state_->registered && operation.buffer >= 0) {
    io_uring_prep_write_fixed(entry, operation.descriptor, bytes.data(), size, operation.offset,
                              operation.buffer);
  } else {
    io_uring_prep_write(entry, operation.descriptor, bytes.data(), size, operation.offset);
  }
  io_uring_sqe_set_data64(entry, operation.tag);
  ++state_->queued;
}

Status Ring::Submit() {
  while (state_->queued > 0) {
    // Counted before, because a waiting thread may see the completion first.
    const unsigned queued = state_->queued;
    state_->in_flight += queued;
    const int submitted = io_uring_submit(&state_->ring);
    const unsigned taken = submitted > 0 ? static_cast<unsigned>(submitted) : 0;
    CHECK(taken <= queued);
    state_->in_flight -= queued - taken;
    state_->queued -= taken;
    if (submitted == -EINTR || submitted == -EAGAIN || submitted > 0) continue;
    return Status::Errno(submitted < 0 ? -submitted : EIO, "io_uring submit");
  }
  return {};
}

Result<Ring::Completion> Ring::Wait() {
  io_uring_cqe* entry = nullptr;
  int failure = 0;
  do {
    failure = io_uring_wait_cqe(&state_->ring, &entry);
  } while (failure == -EINTR || failure == -EAGAIN);
  if (failure < 0) return Status::Errno(-failure, "io_uring wait");
  const Completion completion = {io_uring_cqe_get_data64(entry), entry->res};
  io_uring_cqe_seen(&state_->ring, entry);
  --state_->in_flight;
  return completion;
}

unsigned Ring::in_flight() const { return state_->in_flight; }

}  // namespace varve
