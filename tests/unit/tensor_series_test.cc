// Which version is told from which: plans for series of one kind, and what holds for all.
#include "fs/core/tensor_series.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <random>
#include <set>

#include "tests/support/seed.h"

namespace varve {
namespace {

using testing::TestSeed;

// A model whose numbers take steps of `step` times their size.
class Walk {
 public:
  Walk(uint64_t seed, double step, bool narrow) : random_(seed), step_(step), narrow_(narrow) {
    std::normal_distribution<float> weight(0, 0.02f);
    for (float& number : numbers_) number = weight(random_);
  }
  void Step() {
    std::normal_distribution<float> change(0, static_cast<float>(0.02 * step_));
    for (float& number : numbers_) number += change(random_);
  }
  Sketch Sample() const {
    Sketch sketch(kSketchSamples);
    std::memcpy(sketch.data(), numbers_, sizeof(numbers_));
    if (narrow_)
      for (uint32_t& number : sketch) number &= 0xffff0000;
    return sketch;
  }

 private:
  std::mt19937_64 random_;
  const double step_;
  const bool narrow_;
  float numbers_[kSketchSamples];
};

std::vector<SeriesMember> Series(size_t count, double step, bool narrow = false,
                                 uint64_t seed = 1) {
  Walk walk(seed, step, narrow);
  std::vector<SeriesMember> members;
  for (size_t i = 0; i < count; ++i) {
    members.push_back({100 + i, 0, walk.Sample()});
    walk.Step();
  }
  return members;
}

// What every plan has to keep: nobody is told from itself, from what is not there, or before
// its bases are settled; and what is told once is not told again.
std::map<ContentId, SeriesStep> Checked(const std::vector<SeriesMember>& members,
                                        const std::vector<SeriesStep>& steps) {
  std::map<ContentId, SeriesStep> by_content;
  std::set<ContentId> known, told;
  for (const SeriesMember& member : members) known.insert(member.content);
  for (const SeriesStep& step : steps) told.insert(step.content);
  for (const SeriesStep& step : steps) {
    EXPECT_TRUE(known.contains(step.content));
    EXPECT_FALSE(step.bases.empty());
    for (const ContentId base : step.bases) {
      EXPECT_TRUE(known.contains(base));
      EXPECT_NE(base, step.content);
      EXPECT_TRUE(!told.contains(base) || by_content.contains(base)) << base;
    }
    EXPECT_FALSE(told.contains(step.bases.back())) << "the key is told itself";
    EXPECT_TRUE(by_content.emplace(step.content, step).second);
  }
  for (const SeriesMember& member : members) {
    const bool known_base = std::any_of(members.begin(), members.end(), [&](const auto& other) {
      return other.content == member.base;
    });
    EXPECT_TRUE(!known_base || !by_content.contains(member.content));
  }
  return by_content;
}

// As the recoder notes it.
void Apply(const std::map<ContentId, SeriesStep>& plan, std::vector<SeriesMember>* members) {
  for (SeriesMember& member : *members)
    if (const auto step = plan.find(member.content); step != plan.end())
      member.base = step->second.bases.front();
}

TEST(TensorSeries, NothingToTellFrom) {
  EXPECT_TRUE(PlanSeries({}, true).empty());
  EXPECT_TRUE(PlanSeries(Series(1, 0.02), true).empty());
}

TEST(TensorSeries, ARunHasKeysAndNeighboursBetween) {
  const auto members = Series(10, 0.1);
  const auto plan = Checked(members, PlanSeries(members, true));
  EXPECT_EQ(plan.size(), 8u);
  EXPECT_FALSE(plan.contains(103));
  EXPECT_FALSE(plan.contains(109));
  EXPECT_EQ(plan.at(102).bases, (std::vector<ContentId>{103}));
  EXPECT_EQ(plan.at(100).bases, (std::vector<ContentId>{101, 102, 103}));
  EXPECT_EQ(plan.at(105).bases, (std::vector<ContentId>{104, 103}));
  EXPECT_EQ(plan.at(108).bases, (std::vector<ContentId>{109}));
}

TEST(TensorSeries, ARunThatWasCopiedInAnyOrderIsTheSameLine) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    auto members = Series(12, 0.03, false, seed);
    std::vector<ContentId> places;  // in the run
    for (size_t i = 0; i < members.size(); ++i) places.push_back(i);
    std::mt19937_64 random(seed);
    std::shuffle(places.begin(), places.end(), random);
    std::vector<SeriesMember> shuffled;
    for (size_t i = 0; i < places.size(); ++i)
      shuffled.push_back({i + 1, 0, members[places[i]].sketch});
    size_t far = 0;
    for (const auto& [content, step] : Checked(shuffled, PlanSeries(shuffled, true))) {
      const auto place = static_cast<int64_t>(places[content - 1]);
      const auto base = static_cast<int64_t>(places[step.bases.front() - 1]);
      far += std::abs(place - base) > 2;
    }
    EXPECT_LE(far, 4u) << seed;
  }
}

TEST(TensorSeries, NearerVersionsNeedFewerKeys) {
  const auto keys = [](double step) {
    const auto members = Series(40, step);
    return members.size() - Checked(members, PlanSeries(members, true)).size();
  };
  EXPECT_GT(keys(0.1), keys(1e-4));
  EXPECT_GT(keys(1e-4), 0u);
}

TEST(TensorSeries, AShortRunWaitsUnlessItIsAskedFor) {
  const auto members = Series(3, 0.1);
  EXPECT_TRUE(PlanSeries(members, false).empty());
  const auto plan = Checked(members, PlanSeries(members, true));
  EXPECT_EQ(plan.size(), 2u);
  EXPECT_FALSE(plan.contains(102));
}

TEST(TensorSeries, TheNewestIsToldOnlyWhereThatStaysCheapToRead) {
  auto members = Series(8, 0.1);
  EXPECT_FALSE(Checked(members, PlanSeries(members, true)).contains(107));
  members = Series(8, 1e-5, /*narrow=*/true);
  const auto plan = Checked(members, PlanSeries(members, true));
  for (const auto& [content, step] : plan) EXPECT_EQ(step.newest, content == 107);
  members = Series(2, 1e-5, /*narrow=*/true);
  EXPECT_EQ(Checked(members, PlanSeries(members, true)).count(100), 1u);
}

TEST(TensorSeries, StrangersOfOneShapeAreLeftAlone) {
  std::vector<SeriesMember> members;
  for (uint64_t i = 0; i < 10; ++i)
    members.push_back({i + 1, 0, Series(1, 0.1, false, i)[0].sketch});
  EXPECT_TRUE(PlanSeries(members, true).empty());
}

TEST(TensorSeries, RunsThatAreWrittenSideBySideStayApart) {
  std::vector<SeriesMember> members;
  Walk a(1, 0.01, false), b(2, 0.01, false);
  for (ContentId i = 0; i < 20; ++i) {
    Walk& walk = i % 2 == 0 ? a : b;
    members.push_back({i + 1, 0, walk.Sample()});
    walk.Step();
  }
  const auto plan = Checked(members, PlanSeries(members, true));
  EXPECT_GE(plan.size(), 14u);
  for (const auto& [content, step] : plan)
    for (const ContentId base : step.bases) EXPECT_EQ(base % 2, content % 2);
}

TEST(TensorSeries, OneAfterTheOtherEndsLikeAllAtOnce) {
  Walk walk(7, 0.1, false);
  std::vector<SeriesMember> members;
  for (ContentId i = 1; i <= 23; ++i) {
    members.push_back({i, 0, walk.Sample()});
    walk.Step();
    const auto plan = Checked(members, PlanSeries(members, false));
    Apply(plan, &members);
    EXPECT_TRUE(PlanSeries(members, false).empty()) << "a plan is done once";
  }
  size_t alone = 0;
  for (const SeriesMember& member : members) alone += member.base == 0;
  EXPECT_LE(alone, 6u);  // 5, 10, 15, 20 and the newest, or thereabouts
}

TEST(TensorSeries, ABaseThatWentIsForgotten) {
  auto members = Series(10, 0.1);
  Apply(Checked(members, PlanSeries(members, true)), &members);
  members.erase(members.begin() + 1);
  const auto plan = Checked(members, PlanSeries(members, true));
  EXPECT_EQ(plan.size(), 1u);
  EXPECT_EQ(plan.at(100).bases, (std::vector<ContentId>{102, 103}));
}

TEST(TensorSeries, AnySeriesAnyOrder) {
  std::mt19937_64 random(TestSeed());
  for (int round = 0; round < 200; ++round) {
    std::vector<Walk> runs;
    const size_t count = 1 + random() % 4;
    const bool narrow = random() % 2 == 0;
    for (size_t i = 0; i < count; ++i) {
      if (i > 0 && random() % 2 == 0) {
        runs.push_back(runs[random() % i]);  // a fork: the same steps, as it happens, or not
      } else {
        runs.emplace_back(random(), std::pow(10, -1.0 - static_cast<double>(random() % 5)), narrow);
      }
    }
    std::vector<SeriesMember> members;
    for (ContentId content = 1; content < 40; ++content) {
      Walk& run = runs[random() % runs.size()];
      for (uint64_t steps = random() % 3; steps > 0; --steps) run.Step();
      members.push_back({content, 0, run.Sample()});
      if (random() % 4 == 0) {
        const auto plan = Checked(members, PlanSeries(members, random() % 2 == 0));
        Apply(plan, &members);
      }
      if (random() % 8 == 0) members[random() % members.size()].base = members.back().content;
      if (random() % 8 == 0 && members.size() > 2)
        members.erase(members.begin() + static_cast<ptrdiff_t>(random() % members.size()));
      if (members.empty() || members.back().content != content) continue;
      if (members.back().base == content && random() % 2 == 0) members.back().base = 0;
    }
    Checked(members, PlanSeries(members, true));
  }
}

}  // namespace
}  // namespace varve
