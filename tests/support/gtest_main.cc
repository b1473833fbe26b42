// GoogleTest's main() with one more option: --seed=N (tests/support/seed.h).
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "tests/support/seed.h"

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    constexpr std::string_view kSeed = "--seed=";
    if (argument.substr(0, kSeed.size()) == kSeed) {
      varve::testing::SetTestSeed(std::strtoull(argv[i] + kSeed.size(), nullptr, 0));
    } else {
      std::fprintf(stderr, "%s: unknown option %s\n", argv[0], argv[i]);
      return 2;
    }
  }
  return RUN_ALL_TESTS();
}
