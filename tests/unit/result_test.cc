#include "store/base/result.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace varve {
namespace {

TEST(StatusTest, DefaultIsOk) {
  const Status status;
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(status.code(), Code::kOk);
  EXPECT_EQ(status.os_errno(), 0);
  EXPECT_EQ(status.context(), "");
  EXPECT_EQ(status.ToString(), "ok");
}

TEST(StatusTest, CarriesCodeErrnoAndContext) {
  const Status status = Status::Errno(ENOENT, "open a/b");
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(status.code(), Code::kNotFound);
  EXPECT_EQ(status.os_errno(), ENOENT);
  EXPECT_EQ(status.ToString(), "not found: open a/b (No such file or directory)");
  EXPECT_EQ(Status(Code::kCorrupt, "pack 7").ToString(), "corrupt: pack 7");
  EXPECT_EQ(Status(Code::kBusy).ToString(), "busy");
}

TEST(StatusTest, CodeFollowsFromErrno) {
  const struct {
    int os_errno;
    Code code;
  } kExpected[] = {
      {ENOENT, Code::kNotFound},
      {EEXIST, Code::kExists},
      {EINVAL, Code::kInvalid},
      {ENOSPC, Code::kNoSpace},
      {EDQUOT, Code::kNoSpace},
      {EIO, Code::kIo},
      {EROFS, Code::kReadOnly},
      {EBUSY, Code::kBusy},
      {EAGAIN, Code::kBusy},
      {ENOSYS, Code::kUnsupported},
      {EOPNOTSUPP, Code::kUnsupported},
      {ENOTDIR, Code::kErrno},
  };
  for (const auto& [os_errno, code] : kExpected) {
    EXPECT_EQ(Status::Errno(os_errno).code(), code) << os_errno;
    EXPECT_EQ(Status::Errno(os_errno).os_errno(), os_errno);
  }
}

TEST(StatusTest, EveryCodeHasAName) {
  for (int code = 0; code <= static_cast<int>(Code::kErrno); ++code) {
    EXPECT_NE(CodeName(static_cast<Code>(code)), "unknown") << code;
  }
}

TEST(StatusTest, CopiesAndMoves) {
  Status first = Status::Errno(EIO, "sync x");
  Status second = first;
  EXPECT_EQ(first.ToString(), second.ToString());
  Status& same = second;
  second = same;
  EXPECT_EQ(second.context(), "sync x");
  Status third = std::move(first);
  EXPECT_EQ(third.context(), "sync x");
  third = Status();
  EXPECT_TRUE(third.ok());
  EXPECT_EQ(third.context(), "");
}

Result<int> Half(int number) {
  if (number % 2 != 0) return Status(Code::kInvalid, "odd");
  return number / 2;
}

Result<int> Quarter(int number) {
  ASSIGN_OR_RETURN(const int half, Half(number));
  ASSIGN_OR_RETURN(const int quarter, Half(half));
  return quarter;
}

Status CheckQuarter(int number) {
  RETURN_IF_ERROR(Quarter(number).status());
  return {};
}

TEST(ResultTest, HoldsAValueOrAStatus) {
  Result<int> good = Half(10);
  ASSERT_TRUE(good.ok());
  EXPECT_EQ(*good, 5);
  EXPECT_TRUE(good.status().ok());
  *good = 6;
  EXPECT_EQ(good.value(), 6);
  EXPECT_EQ(Half(3).status().code(), Code::kInvalid);
}

TEST(ResultTest, MacrosPassErrorsOn) {
  EXPECT_EQ(*Quarter(12), 3);
  EXPECT_EQ(Quarter(6).status().context(), "odd");
  EXPECT_TRUE(CheckQuarter(8).ok());
  EXPECT_EQ(CheckQuarter(9).code(), Code::kInvalid);
}

TEST(ResultTest, MovesWhatCannotBeCopied) {
  Result<std::unique_ptr<std::string>> result(std::make_unique<std::string>("moved"));
  EXPECT_EQ((*result)->size(), 5U);
  const std::unique_ptr<std::string> taken = std::move(result).value();
  EXPECT_EQ(*taken, "moved");
}

TEST(ResultDeathTest, BrokenInvariantsEndTheProgram) {
  EXPECT_DEATH(static_cast<void>(*Half(3)), "broken invariant");
  EXPECT_DEATH(static_cast<void>(Result<int>{Status()}), "broken invariant");
  EXPECT_DEATH(static_cast<void>(Status::Errno(0)), "broken invariant");
}

}  // namespace
}  // namespace varve
