#include "fs/fuse/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

namespace varve {
namespace {

constexpr std::array<std::string_view, kOperations> kNames = {
    "lookup",     "forget",      "getattr", "setattr",    "readlink", "mknod",     "mkdir",
    "symlink",    "link",        "unlink",  "rmdir",      "rename",   "create",    "open",
    "read",       "write",       "flush",   "release",    "fsync",    "fallocate", "lseek",
    "copy_range", "opendir",     "readdir", "releasedir", "fsyncdir", "getxattr",  "setxattr",
    "listxattr",  "removexattr", "statfs",
};

}  // namespace

std::string_view OperationName(Operation operation) {
  return kNames[static_cast<size_t>(operation)];
}

size_t Metrics::BucketOf(int64_t duration_ns) {
  const auto duration_us = static_cast<uint64_t>(std::max<int64_t>(duration_ns, 0)) / 1000;
  return std::min<size_t>(static_cast<size_t>(std::bit_width(duration_us)), kBuckets - 1);
}

Metrics::Snapshot Metrics::Read(Operation operation) const {
  const Row& row = rows_[static_cast<size_t>(operation)];
  std::array<uint64_t, kBuckets> counts;
  Snapshot snapshot;
  for (size_t i = 0; i < kBuckets; ++i) {
    counts[i] = row.buckets[i].load(std::memory_order_relaxed);
    snapshot.count += counts[i];
  }
  snapshot.total_ns = row.total_ns.load(std::memory_order_relaxed);
  const auto quantile_ns = [&](uint64_t rank) -> uint64_t {
    uint64_t seen = 0;
    for (size_t i = 0; i < kBuckets; ++i) {
      seen += counts[i];
      if (seen > rank) return (uint64_t{1} << i) * 1000;
    }
    return 0;
  };
  if (snapshot.count > 0) {
    snapshot.median_ns = quantile_ns(snapshot.count / 2);
    snapshot.p99_ns = quantile_ns(snapshot.count - 1 - snapshot.count / 100);
  }
  return snapshot;
}

std::string Metrics::Json() const {
  std::string out = "{";
  for (size_t i = 0; i < kOperations; ++i) {
    const auto operation = static_cast<Operation>(i);
    const Snapshot row = Read(operation);
    if (row.count == 0) continue;
    out += fmt::format("{}\"{}\":{{\"count\":{},\"total_ns\":{},\"median_ns\":{},\"p99_ns\":{}}}",
                       out.size() > 1 ? "," : "", OperationName(operation), row.count, row.total_ns,
                       row.median_ns, row.p99_ns);
  }
  return out + "}";
}

}  // namespace varve
