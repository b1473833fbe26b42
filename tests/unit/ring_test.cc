#include "store/uring/ring.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "store/base/unique_fd.h"

namespace varve {
namespace {

constexpr unsigned kOperationsMax = 8;

class RingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Result<std::unique_ptr<Ring>> ring = Ring::Open(kOperationsMax);
    if (!ring.ok()) GTEST_SKIP() << ring.status().ToString();
    ring_ = std::move(ring).value();
    std::string path = (std::filesystem::temp_directory_path() / "varve-ring-XXXXXX").string();
    file_ = UniqueFd(mkstemp(path.data()));
    ASSERT_GE(file_.get(), 0);
    ::unlink(path.c_str());
  }

  Ring::Completion Finish() {
    EXPECT_TRUE(ring_->Submit().ok());
    const Result<Ring::Completion> completion = ring_->Wait();
    EXPECT_TRUE(completion.ok());
    return completion.ok() ? *completion : Ring::Completion{};
  }

  std::unique_ptr<Ring> ring_;
  UniqueFd file_;
};

TEST_F(RingTest, WritesAndReads) {
  std::vector<uint8_t> memory(8192);
  for (const bool registered : {false, true}) {
    const int buffer = registered ? 0 : -1;
    if (registered) {
      const MutableBytes all = memory;
      ring_->RegisterBuffers({&all, 1});
    }
    const MutableBytes half = MutableBytes(memory).first(4096);
    std::fill(half.begin(), half.end(), uint8_t{7});
    ring_->PrepareWrite({file_.get(), 100, buffer, 41}, half);
    EXPECT_EQ(ring_->in_flight(), 0u);
    Ring::Completion completion = Finish();
    EXPECT_EQ(completion.tag, 41u);
    EXPECT_EQ(completion.result, 4096);
    std::fill(half.begin(), half.end(), uint8_t{0});
    ring_->PrepareRead({file_.get(), 100, buffer, 42}, half);
    completion = Finish();
    EXPECT_EQ(completion.tag, 42u);
    EXPECT_EQ(completion.result, 4096);
    EXPECT_TRUE(std::all_of(half.begin(), half.end(), [](uint8_t byte) { return byte == 7; }));
    EXPECT_EQ(ring_->in_flight(), 0u);
  }
}

TEST_F(RingTest, ManyAtOnceComeBackWithTheirTags) {
  std::vector<uint8_t> memory(kOperationsMax);
  for (unsigned i = 0; i < kOperationsMax; ++i) memory[i] = static_cast<uint8_t>(i);
  for (unsigned i = 0; i < kOperationsMax; ++i) {
    ring_->PrepareWrite({file_.get(), i, -1, i}, ByteView(memory).subspan(i, 1));
  }
  ASSERT_TRUE(ring_->Submit().ok());
  uint64_t tags = 0;
  for (unsigned left = kOperationsMax; left > 0; --left) {
    EXPECT_EQ(ring_->in_flight(), left);
    const Result<Ring::Completion> completion = ring_->Wait();
    ASSERT_TRUE(completion.ok());
    EXPECT_EQ(completion->result, 1);
    tags += uint64_t{1} << completion->tag;
  }
  EXPECT_EQ(tags, (1u << kOperationsMax) - 1);
}

TEST_F(RingTest, ErrorsAndShortReadsAreResults) {
  std::vector<uint8_t> memory(100);
  ring_->PrepareRead({-1, 0, -1, 1}, memory);
  EXPECT_EQ(Finish().result, -EBADF);
  ring_->PrepareWrite({file_.get(), 0, -1, 2}, ByteView(memory).first(10));
  EXPECT_EQ(Finish().result, 10);
  ring_->PrepareRead({file_.get(), 0, -1, 3}, memory);
  EXPECT_EQ(Finish().result, 10);
}

}  // namespace
}  // namespace varve
