// The adapter's pure parts: errno, metrics.
#include <gtest/gtest.h>

#include "fs/fuse/errno.h"
#include "fs/fuse/metrics.h"

namespace varve {
namespace {

TEST(ToErrnoTest, EveryCodeHasOne) {
  EXPECT_EQ(ToErrno(Status()), 0);
  for (int code = 1; code <= static_cast<int>(Code::kErrno); ++code) {
    EXPECT_GT(ToErrno(Status(static_cast<Code>(code))), 0) << code;
  }
  EXPECT_EQ(ToErrno(Status(Code::kNotFound)), ENOENT);
  EXPECT_EQ(ToErrno(Status(Code::kCorrupt, "chunk")), EIO);
}

TEST(ToErrnoTest, TheSystemsErrnoWins) {
  EXPECT_EQ(ToErrno(Status::Errno(ENOTEMPTY)), ENOTEMPTY);
  EXPECT_EQ(ToErrno(Status::Errno(EDQUOT)), EDQUOT);
}

TEST(ToErrnoTest, NeverEnosys) { EXPECT_EQ(ToErrno(Status::Errno(ENOSYS)), EOPNOTSUPP); }

TEST(MetricsTest, QuantilesAreBucketBounds) {
  Metrics metrics;
  EXPECT_EQ(metrics.Read(Operation::kRead).count, 0u);
  EXPECT_EQ(metrics.Json(), "{}");
  for (int i = 0; i < 99; ++i) metrics.Record(Operation::kRead, 3'000);
  metrics.Record(Operation::kRead, 1'000'000'000'000);
  const Metrics::Snapshot read = metrics.Read(Operation::kRead);
  EXPECT_EQ(read.count, 100u);
  EXPECT_EQ(read.total_ns, 99u * 3'000 + 1'000'000'000'000);
  EXPECT_EQ(read.median_ns, 4'000u);
  EXPECT_EQ(read.p99_ns, 4'000u);
  metrics.Record(Operation::kWrite, 0);
  EXPECT_EQ(
      metrics.Json(),
      "{\"read\":{\"count\":100,\"total_ns\":1000000297000,\"median_ns\":4000,\"p99_ns\":4000},"
      "\"write\":{\"count\":1,\"total_ns\":0,\"median_ns\":1000,\"p99_ns\":1000}}");
}

}  // namespace
}  // namespace varve
