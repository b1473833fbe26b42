#include "fs/core/retention.h"

#include <gtest/gtest.h>

namespace varve {
namespace {

constexpr int64_t kNow = 1'800'000'000;
constexpr int64_t kDay = 24 * 3600;

// The numbers that are kept of versions 1 to `count`, one a day, the newest now.
std::vector<VersionNumber> Kept(std::string_view rule, VersionNumber count) {
  const Result<RetentionRule> parsed = RetentionRule::Parse(rule);
  EXPECT_TRUE(parsed.ok()) << rule;
  std::vector<RetentionRule::Candidate> versions;
  for (VersionNumber number = 1; number <= count; ++number)
    versions.push_back({number, kNow - static_cast<int64_t>(count - number) * kDay});
  const std::vector<bool> kept = parsed->Keeps(versions, kNow);
  std::vector<VersionNumber> numbers;
  for (VersionNumber number = 1; number <= count; ++number)
    if (kept[number - 1]) numbers.push_back(number);
  return numbers;
}

using Numbers = std::vector<VersionNumber>;

TEST(RetentionTest, EachTermKeepsItsOwn) {
  EXPECT_EQ(Kept("last=3", 10), (Numbers{8, 9, 10}));
  EXPECT_EQ(Kept("last=30", 4), (Numbers{1, 2, 3, 4}));
  EXPECT_EQ(Kept("days=2", 10), (Numbers{8, 9, 10}));
  EXPECT_EQ(Kept("every=4", 10), (Numbers{4, 8}));
  EXPECT_EQ(Kept("none", 10), Numbers{});
}

TEST(RetentionTest, AnyTermIsEnough) {
  EXPECT_EQ(Kept("last=1, every=4,days=1", 10), (Numbers{4, 8, 9, 10}));
  EXPECT_EQ(Kept(" last=2 ,last=1 ", 3), (Numbers{2, 3}));
  EXPECT_EQ(Kept("every=4,every=3", 9), (Numbers{3, 4, 6, 8, 9}));
}

TEST(RetentionTest, TheDefaultKeepsThirtyTwoAndAWeek) {
  std::vector<RetentionRule::Candidate> versions;
  for (VersionNumber number = 1; number <= 40; ++number) versions.push_back({number, 0});
  const std::vector<bool> kept = RetentionRule::Default().Keeps(versions, kNow);
  EXPECT_FALSE(kept[7]);
  EXPECT_TRUE(kept[8]);
  versions.resize(1);
  versions[0].captured_s = kNow - 8 * kDay;
  EXPECT_TRUE(RetentionRule::Default().Keeps(versions, kNow)[0]);
}

TEST(RetentionTest, WhatIsNoRuleIsRefused) {
  for (const char* text : {"", ",", "last", "last=", "last=0", "last=-1", "last=x", "last=3,",
                           "none,last=1", "last=3;days=2", "last=99999999999", "every=2:step"})
    EXPECT_EQ(RetentionRule::Parse(text).status().code(), Code::kInvalid) << text;
}

}  // namespace
}  // namespace varve
