#include "fs/core/history.h"

#include <gtest/gtest.h>

#include "fs/core/status_attributes.h"
#include "tests/support/map_catalog.h"

namespace varve {
namespace {

constexpr HistoryId kHistory = 7;

class HistoryTest : public ::testing::Test {
 protected:
  void PutVersion(std::string_view name, VersionNumber number, HistoryId history = kHistory) {
    VersionRecord version;
    version.content = 1000 + number;
    version.size_bytes = number;
    Put(key::Version(history, name, number), version.Encode());
    NameRecord counters;
    counters.last_version = number;
    Put(key::Name(history, name), counters.Encode());
  }
  void Put(std::string key, std::string value) {
    Batch batch;
    batch.Put(std::move(key), std::move(value));
    ASSERT_TRUE(catalog_.Apply(batch).ok());
  }
  void Delete(std::string key) {
    Batch batch;
    batch.Delete(std::move(key));
    ASSERT_TRUE(catalog_.Apply(batch).ok());
  }

  testing::MapCatalog catalog_;
  const History history_{catalog_};
};

TEST_F(HistoryTest, NothingIsThereAtFirst) {
  EXPECT_TRUE(history_.Names(kHistory)->empty());
  EXPECT_TRUE(history_.Versions(kHistory, "a")->empty());
  EXPECT_EQ(history_.Latest(kHistory, "a").status().code(), Code::kNotFound);
  EXPECT_EQ(history_.Find(kHistory, "a", 1).status().code(), Code::kNotFound);
  EXPECT_FALSE(history_.HasVersions(kHistory, "a"));
}

TEST_F(HistoryTest, VersionsAreAscendingAndOfOneName) {
  for (const VersionNumber number : {1u, 2u, 300u, 70000u}) PutVersion("model.pt", number);
  PutVersion("model.pt2", 1);
  PutVersion("model", 1);
  PutVersion("model.pt", 5, kHistory + 1);
  const auto versions = history_.Versions(kHistory, "model.pt");
  ASSERT_TRUE(versions.ok());
  ASSERT_EQ(versions->size(), 4u);
  EXPECT_EQ((*versions)[2].number, 300u);
  EXPECT_EQ((*versions)[3].number, 70000u);
  EXPECT_EQ((*versions)[3].record.size_bytes, 70000u);
  EXPECT_EQ(*history_.Numbers(kHistory, "model.pt"),
            (std::vector<VersionNumber>{1, 2, 300, 70000}));
  EXPECT_EQ(*history_.Names(kHistory),
            (std::vector<std::string>{"model", "model.pt", "model.pt2"}));
  EXPECT_EQ(history_.Find(kHistory, "model.pt", 300)->content, 1300u);
}

TEST_F(HistoryTest, NamesThatHoldAZeroByteInTheirNumberDoNotMix) {
  // The key of "a", version 0x62000001, has the bytes of a longer name in it.
  PutVersion("a", 0x62000001);
  PutVersion("ab", 1);
  EXPECT_EQ(history_.Numbers(kHistory, "a")->size(), 1u);
  EXPECT_EQ(history_.Numbers(kHistory, "ab")->size(), 1u);
}

TEST_F(HistoryTest, LatestSurvivesTheCollectionOfTheNewest) {
  PutVersion("a", 1);
  PutVersion("a", 2);
  PutVersion("a", 3);
  EXPECT_EQ(history_.Latest(kHistory, "a")->number, 3u);
  Delete(key::Version(kHistory, "a", 3));
  EXPECT_EQ(history_.Latest(kHistory, "a")->number, 2u);
  Delete(key::Version(kHistory, "a", 1));
  Delete(key::Version(kHistory, "a", 2));
  EXPECT_EQ(history_.Latest(kHistory, "a").status().code(), Code::kNotFound);
  EXPECT_TRUE(history_.Names(kHistory)->empty());
}

TEST_F(HistoryTest, ADirectorysNameHasNoVersions) {
  NameRecord counters;
  counters.child_history = 9;
  Put(key::Name(kHistory, "run1"), counters.Encode());
  EXPECT_TRUE(history_.Names(kHistory)->empty());
}

TEST_F(HistoryTest, ADamagedRecordIsAnErrorNotAnEmptyHistory) {
  PutVersion("a", 1);
  Put(key::Version(kHistory, "a", 2), "garbage");
  EXPECT_EQ(history_.Versions(kHistory, "a").status().code(), Code::kCorrupt);
  EXPECT_EQ(history_.Find(kHistory, "a", 2).status().code(), Code::kCorrupt);
  Put(key::Name(kHistory, "b"), "garbage");
  EXPECT_EQ(history_.Names(kHistory).status().code(), Code::kCorrupt);
}

TEST_F(HistoryTest, TheEmptyContentIsStored) {
  const auto content = history_.Content(0);
  ASSERT_TRUE(content.ok());
  EXPECT_TRUE(content->stored && content->captured && content->durable && content->complete);
  EXPECT_EQ(history_.Content(5).status().code(), Code::kNotFound);
}

TEST(VersionName, HasFourDigitsAtLeast) {
  EXPECT_EQ(VersionName(1), "0001");
  EXPECT_EQ(VersionName(9999), "9999");
  EXPECT_EQ(VersionName(10000), "10000");
}

TEST(VersionName, ParsesWhatItMadeAndNothingElse) {
  for (const VersionNumber number : {1u, 42u, 9999u, 10000u, 4294967295u}) {
    EXPECT_EQ(ParseVersionName(VersionName(number)), number);
  }
  for (const char* text : {"", "0000", "1", "001", "00001", "0001 ", "+001", "-001", "latest",
                           "0x01", "4294967296", "99999999999999999999"}) {
    EXPECT_EQ(ParseVersionName(text), std::nullopt) << text;
  }
}

TEST(StatusAttribute, AnswersWhatIsKnown) {
  ContentRecord content;
  content.captured = content.durable = true;
  content.format = ContentFormat::kSafetensors;
  const StatusFacts facts{content, 0xab, 3};
  EXPECT_EQ(StatusAttribute("user.varve.complete", facts), "1");
  EXPECT_EQ(StatusAttribute("user.varve.durable", facts), "1");
  EXPECT_EQ(StatusAttribute("user.varve.stored", facts), "0");
  EXPECT_EQ(StatusAttribute("user.varve.format", facts), "safetensors");
  EXPECT_EQ(StatusAttribute("user.varve.version", facts), "3");
  EXPECT_EQ(StatusAttribute("user.varve.id", facts), "00000000000000ab");
  EXPECT_EQ(StatusAttribute("user.varve.incomplete", facts), std::nullopt);
  EXPECT_EQ(StatusAttribute("user.varve.version", {content, 1, std::nullopt}), std::nullopt);
  EXPECT_EQ(StatusAttribute("user.varve.nonsense", facts), std::nullopt);
  EXPECT_EQ(StatusAttribute("user.complete", facts), std::nullopt);
  EXPECT_EQ(StatusAttribute("user.varve.", facts), std::nullopt);
}

TEST(StatusAttribute, NothingUnfinishedIsCompleteOrDurable) {
  ContentRecord live;
  live.durable = true;  // it was synced, and may be written to
  EXPECT_EQ(StatusAttribute("user.varve.complete", {live, 1, std::nullopt}), "0");
  EXPECT_EQ(StatusAttribute("user.varve.durable", {live, 1, std::nullopt}), "0");
  ContentRecord torn;
  torn.captured = torn.durable = torn.torn = true;
  EXPECT_EQ(StatusAttribute("user.varve.complete", {torn, 1, 1}), "0");
  EXPECT_EQ(StatusAttribute("user.varve.durable", {torn, 1, 1}), "0");
  ContentRecord half;
  half.captured = true;
  half.complete = false;
  half.incomplete_reason = "expected 100 bytes, has 10";
  EXPECT_EQ(StatusAttribute("user.varve.complete", {half, 1, 1}), "0");
  EXPECT_EQ(StatusAttribute("user.varve.incomplete", {half, 1, 1}), half.incomplete_reason);
}

}  // namespace
}  // namespace varve
