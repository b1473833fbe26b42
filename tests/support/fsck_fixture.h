// A sound store to damage, and what a test asks of fsck then.
//
// The store holds: dir/sub/f ("hello") with a second name dir/g, the symbolic link
// dir/l, cold (2 MiB, in packs only), hot (1 MiB, also in a staging file), v with three
// versions ("first", "second", "third") and an attribute, gone (removed), empty.
//
// Threads: one.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "fs/core/fsck.h"
#include "tests/support/store_editor.h"
#include "tests/support/store_session.h"
#include "tests/support/temp_dir.h"

namespace varve::testing {

const std::string& ColdBytes();
const std::string& HotBytes();

class FsckFixture : public ::testing::Test {
 protected:
  FsckFixture();

  FsckReport Check(const FsckOptions& options = {});
  static FsckOptions Repair();
  static std::string Text(const FsckReport& report);
  // A check that finds `sentence` and changes nothing, a repair of all, and then a clean
  // check.
  void FindAndRepair(const std::string& sentence, bool verify_data = false);
  // What a mount says.
  Status OpenFails();

  static void ExpectBytes(StoreSession& session, const std::string& path, const std::string& bytes);
  static void ExpectGone(StoreSession& session, const std::string& path);
  // It is listed, and not complete; reading all of it fails.
  static void ExpectIoError(StoreSession& session, const std::string& path);

  const TempDir directory_;
  const std::string store_ = directory_ / "store";
};

}  // namespace varve::testing
