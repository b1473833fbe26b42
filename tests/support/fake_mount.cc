#include "tests/support/fake_mount.h"

#include <unistd.h>

#include <future>

#include "fs/fuse/unmount.h"
#include "store/base/check.h"

namespace varve::testing {

bool FakeMount::Possible() {
  return access("/dev/fuse", R_OK | W_OK) == 0 && (geteuid() == 0 || !FindFusermount().empty());
}

FakeMount::FakeMount(const std::function<void(SessionOptions*)>& adjust) {
  options_.store_path = store_.path();
  options_.mount_point = mount_point_.path();
  if (geteuid() == 0) options_.mount_flags = {"suid", "dev"};
  if (adjust) adjust(&options_);
  Result<std::unique_ptr<Session>> session = Session::Open(options_);
  CHECK(session.ok());
  session_ = *std::move(session);
  volume_ = std::make_unique<FakeVolume>(store_.path(), session_->channel());
  CHECK(session_->Mount(*volume_).ok());
  std::promise<void> live;
  thread_ = std::thread([this, &live] { CHECK(session_->Serve([&] { live.set_value(); }).ok()); });
  live.get_future().wait();
}

void FakeMount::Stop() {
  session_->Stop();
  if (thread_.joinable()) thread_.join();
}

FakeMount::~FakeMount() { Stop(); }

}  // namespace varve::testing
