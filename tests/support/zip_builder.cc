#include "tests/support/zip_builder.h"

namespace varve::testing {
namespace {

constexpr uint32_t kElsewhere = 0xffffffff;

}  // namespace

ZipBuilder& ZipBuilder::Add(const std::string& name, const std::string& bytes) {
  const uint64_t offset = file_.size();
  const auto size = static_cast<uint32_t>(bytes.size());
  ByteWriter out(&file_);
  out.U32(0x04034b50);
  out.U16(20);
  out.U16(options_.descriptors ? 0x0808 : 0x0800);
  out.U16(0);  // stored
  out.U32(0);  // time
  out.U32(0);  // CRC
  out.U32(options_.descriptors ? 0 : size);
  out.U32(options_.descriptors ? 0 : size);
  out.U16(static_cast<uint16_t>(name.size()));
  out.U16(4);
  out.Raw(AsBytes(name));
  out.U16(0x4246);  // torch's padding
  out.U16(0);
  out.Raw(AsBytes(bytes));
  if (options_.descriptors) {
    out.U32(0x08074b50);
    out.U32(0);
    out.U32(size);
    out.U32(size);
  }
  AddEntry(name, size, offset);
  return *this;
}

void ZipBuilder::AddEntry(const std::string& name, uint64_t size, uint64_t offset) {
  ByteWriter out(&directory_);
  out.U32(0x02014b50);
  out.U16(20);
  out.U16(20);
  out.U16(0x0800);
  out.U16(0);
  out.U32(0);
  out.U32(0);
  out.U32(options_.zip64 ? kElsewhere : static_cast<uint32_t>(size));
  out.U32(options_.zip64 ? kElsewhere : static_cast<uint32_t>(size));
  out.U16(static_cast<uint16_t>(name.size()));
  out.U16(options_.zip64 ? 28 : 0);
  out.U16(0);
  out.U16(0);
  out.U16(0);
  out.U32(0);
  out.U32(options_.zip64 ? kElsewhere : static_cast<uint32_t>(offset));
  out.Raw(AsBytes(name));
  if (options_.zip64) {
    out.U16(1);
    out.U16(24);
    out.U64(size);
    out.U64(size);
    out.U64(offset);
  }
  ++entries_;
}

std::string ZipBuilder::Finish() {
  const uint64_t begin = file_.size();
  file_ += directory_;
  const uint64_t end = file_.size();
  ByteWriter out(&file_);
  if (options_.zip64) {
    out.U32(0x06064b50);
    out.U64(44);
    out.U16(45);
    out.U16(45);
    out.U32(0);
    out.U32(0);
    out.U64(entries_);
    out.U64(entries_);
    out.U64(end - begin);
    out.U64(begin);
    out.U32(0x07064b50);
    out.U32(0);
    out.U64(end);
    out.U32(1);
  }
  out.U32(0x06054b50);
  out.U16(0);
  out.U16(0);
  out.U16(options_.zip64 ? 0xffff : static_cast<uint16_t>(entries_));
  out.U16(options_.zip64 ? 0xffff : static_cast<uint16_t>(entries_));
  out.U32(options_.zip64 ? kElsewhere : static_cast<uint32_t>(end - begin));
  out.U32(options_.zip64 ? kElsewhere : static_cast<uint32_t>(begin));
  out.U16(static_cast<uint16_t>(options_.comment.size()));
  out.Raw(AsBytes(options_.comment));
  return file_;
}

}  // namespace varve::testing
