#include "store/format/pickle.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace varve {
namespace {

using Kind = Pickle::Kind;

Result<Pickle> Parse(std::string_view text) { return Pickle::Parse(AsBytes(text)); }

// What pickle.dumps({'epoch': 7, 'loss': 0.5, 'names': ['a', None, True], 'big': -3}, protocol)
// gives, as pickletools.dis shows it.
constexpr std::string_view kOld =
    "(dp0\nVepoch\np1\nI7\nsVloss\np2\nF0.5\nsVnames\np3\n(lp4\nVa\np5\naNaI01\nasVbig\np6\nI-"
    "3\ns.";
constexpr char kNew[] =
    "\x80\x04\x95\x37\0\0\0\0\0\0\0}\x94(\x8c\x05"
    "epoch\x94K\x07\x8c\x04loss\x94G?\xe0\0\0\0\0\0\0"
    "\x8c\x05names\x94]\x94(\x8c\x01"
    "a\x94N\x88"
    "e\x8c\x03"
    "big\x94J\xfd\xff\xff\xffu.";

TEST(Pickle, ValuesOfOldAndNewProtocols) {
  for (const std::string_view text : {kOld, std::string_view(kNew, sizeof(kNew) - 1)}) {
    const auto pickle = Parse(text);
    ASSERT_TRUE(pickle.ok()) << pickle.status().ToString();
    const Pickle::Value& root = (*pickle)[pickle->root()];
    ASSERT_EQ(root.kind, Kind::kDict);
    ASSERT_EQ(root.children.size(), 8u);
    EXPECT_EQ((*pickle)[root.children[0]].text, "epoch");
    EXPECT_EQ((*pickle)[root.children[1]].integer, 7);
    EXPECT_EQ((*pickle)[root.children[3]].number, 0.5);
    const Pickle::Value& names = (*pickle)[root.children[5]];
    ASSERT_EQ(names.kind, Kind::kList);
    ASSERT_EQ(names.children.size(), 3u);
    EXPECT_EQ((*pickle)[names.children[0]].text, "a");
    EXPECT_EQ((*pickle)[names.children[1]].kind, Kind::kNone);
    EXPECT_EQ((*pickle)[names.children[2]].kind, Kind::kBool);
    EXPECT_EQ((*pickle)[root.children[7]].integer, -3);
  }
}

TEST(Pickle, CallsAreValues) {
  const auto pickle = Parse("cos\nsystem\n(Vrm -rf /\ntR.");
  ASSERT_TRUE(pickle.ok());
  const Pickle::Value& call = (*pickle)[pickle->root()];
  ASSERT_EQ(call.kind, Kind::kCall);
  EXPECT_TRUE(pickle->IsGlobal(call.children[0], "os", "system"));
  EXPECT_EQ((*pickle)[(*pickle)[call.children[1]].children[0]].text, "rm -rf /");
}

TEST(Pickle, HostileOnesAreRefused) {
  for (const std::string_view text :
       {"", ".", "N", "NN.", "(N.", "t.", "e.", "h\x01.", "R.", "NR.", "]u.", "(NNNd.", "X\xff\xff",
        "I9999999999x\n.", "\x82\x01.", "0.", "q\x01.", "b."}) {
    EXPECT_FALSE(Parse(text).ok()) << text;
  }
  // A list of itself is a value; nothing follows it for ever.
  EXPECT_TRUE(Parse("]q\x01h\x01"
                    "a.")
                  .ok());
  EXPECT_EQ(Parse("(" + std::string(1u << 20, 'N') + "t.").status().code(), Code::kInvalid);
  // One list of a thousand pairs, given to a thousand dictionaries.
  std::string bomb = "]q\x01(";
  for (int i = 0; i < 1000; ++i) bomb += "NN\x86";
  bomb += "e0";
  for (int i = 0; i < 1000; ++i) bomb += "ccollections\nOrderedDict\nh\x01\x85R0";
  EXPECT_FALSE(Parse(bomb + "N.").ok());
}

TEST(Pickle, AnyDamageIsSurvived) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 20'000; ++round) {
    std::string text(round % 2 == 0 ? kOld : std::string_view(kNew, sizeof(kNew) - 1));
    for (uint64_t n = 1 + random() % 4; n > 0; --n)
      text[random() % text.size()] = static_cast<char>(random());
    (void)Parse(text);
  }
}

}  // namespace
}  // namespace varve
