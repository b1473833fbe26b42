#include "fs/cli/mount_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fs/cli/mount_point.h"
#include "fs/cli/output.h"

namespace varve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(MountOptionsTest, KnownOnesAreDecoded) {
  MountRequest request;
  ASSERT_TRUE(AddMountOptions(
                  "no_passthrough,threads=3,hot=2G,log=/a\\,b,supervise,allow_other,timeout=2.5,"
                  "quiet=7,on_full=fail",
                  false, &request)
                  .ok());
  EXPECT_FALSE(request.passthrough);
  EXPECT_EQ(request.threads, 3u);
  EXPECT_EQ(request.hot_bytes_max, uint64_t{2} << 30);
  EXPECT_EQ(request.log_path, "/a,b");
  EXPECT_TRUE(request.supervise);
  EXPECT_TRUE(request.allow_other);
  EXPECT_EQ(request.stop_timeout_seconds, 2.5);
  EXPECT_EQ(request.quiet_seconds, 7u);
  EXPECT_FALSE(request.history_yields);
  ASSERT_TRUE(AddMountOptions("on_full=history", false, &request).ok());
  EXPECT_TRUE(request.history_yields);
}

TEST(MountOptionsTest, WhatMountPassesIsTaken) {
  MountRequest request;
  ASSERT_TRUE(AddMountOptions("rw,noauto,user=me,x-systemd.automount,_netdev,nofail,fsname=a,"
                              "noatime,nosuid,relatime",
                              false, &request)
                  .ok());
  EXPECT_THAT(request.mount_flags, ElementsAre("rw", "noatime", "nosuid"));
}

TEST(MountOptionsTest, WhatMountPassesToRemountIsTaken) {
  MountRequest request;
  ASSERT_TRUE(AddMountOptions("ro,remount,relatime,user_id=0,group_id=0,default_permissions,"
                              "allow_other,max_read=1048576,blksize=4096",
                              false, &request)
                  .ok());
  EXPECT_TRUE(request.remount);
  EXPECT_THAT(request.mount_flags, ElementsAre("ro"));
}

TEST(MountOptionsTest, IoUringIsOffUnlessAskedFor) {
  MountRequest request;
  EXPECT_FALSE(request.fuse_io_uring);
  ASSERT_TRUE(AddMountOptions("io_uring", false, &request).ok());
  EXPECT_TRUE(request.fuse_io_uring);
  ASSERT_TRUE(AddMountOptions("no_io_uring", false, &request).ok());
  EXPECT_FALSE(request.fuse_io_uring);
  EXPECT_FALSE(request.store_io_uring);
}

TEST(MountOptionsTest, UnknownOnesAreNamed) {
  for (const char* const bad :
       {"fast", "threads=many", "threads=0", "hot=-1", "hot=x", "log=here", "timeout=soon",
        "timeout=-1", "timeout=nan", "on_full=", "on_full=never", "timeout", "no_passthrough=1"}) {
    MountRequest request;
    const Status status = AddMountOptions(bad, false, &request);
    EXPECT_EQ(status.code(), Code::kInvalid) << bad;
    EXPECT_THAT(std::string(status.context()), HasSubstr(bad));
  }
  MountRequest request;
  EXPECT_TRUE(AddMountOptions("fast", true, &request).ok()) << "sloppy";
}

TEST(MountPointTest, EscapesOfMountinfo) {
  EXPECT_EQ(UnescapeMountinfo("/a\\040b\\134c\\011"), "/a b\\c\t");
  EXPECT_EQ(UnescapeMountinfo("/a\\9"), "/a\\9");
}

TEST(MountPointTest, LiesIn) {
  EXPECT_TRUE(LiesIn("/a/b", "/a"));
  EXPECT_TRUE(LiesIn("/a", "/a"));
  EXPECT_TRUE(LiesIn("/a", "/"));
  EXPECT_FALSE(LiesIn("/ab", "/a"));
  EXPECT_FALSE(LiesIn("/", "/a"));
}

TEST(MountPointTest, TheRootIsNoVarveMount) {
  EXPECT_EQ(FindMount("/").status().code(), Code::kNotFound);
}

TEST(OutputTest, Sizes) {
  EXPECT_EQ(HumanSize(0), "0 B");
  EXPECT_EQ(HumanSize(1023), "1023 B");
  EXPECT_EQ(HumanSize(1536), "1.5 KiB");
  EXPECT_EQ(HumanSize(uint64_t{20} << 30), "20 GiB");
  EXPECT_EQ(ParseSize("1.5K").value(), 1536u);
  EXPECT_EQ(ParseSize("20GiB").value(), uint64_t{20} << 30);
  EXPECT_EQ(ParseSize("7").value(), 7u);
  for (const char* const bad : {"", "K", "1Q", "-1", "1e9", "1 G", "99999999E"}) {
    EXPECT_FALSE(ParseSize(bad).ok()) << bad;
  }
}

TEST(OutputTest, ControlCharactersAreShown) {
  EXPECT_EQ(Printable("a\nb\x1b[2Jc\xc3\xa9"), "a\\nb\\x1b[2Jc\xc3\xa9");
}

TEST(OutputTest, TablesAlign) {
  Table table({{"NAME"}, {"SIZE", Table::Align::kRight}});
  table.AddRow({"a", "1 KiB"});
  table.AddRow({"longer", "10 KiB"});
  EXPECT_EQ(table.Render(), "NAME      SIZE\na        1 KiB\nlonger  10 KiB\n");
}

}  // namespace
}  // namespace varve
