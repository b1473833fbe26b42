// The zip files that torch.save and TorchScript write.
//
// They are zips with stored entries below one folder: FOLDER/data.pkl, FOLDER/version,
// FOLDER/data/0, …; zip64 where it is needed. Such a file is whole when the record
// at its end is there and the directory it names lies in the file and names entries
// that do. Sizes in local headers may be zero (data descriptors), so only the
// directory at the end is believed.
//
// Source: PKWARE APPNOTE.TXT 6.3, sections 4.3.7 to 4.3.16 and 4.5.3.
//
// Threads: free functions.
// Memory:  one buffer; a directory beyond 64 MiB is not walked to its end.
#pragma once

#include <cstdint>
#include <optional>

#include "store/base/result.h"
#include "store/format/byte_source.h"

namespace varve {

// The directory of a zip, as the record at the end of the file describes it.
struct ZipDirectory {
  uint64_t offset_bytes = 0;
  uint64_t size_bytes = 0;
  uint64_t entries = 0;
};

// Nothing when there is no such record, or it describes what is not in the file.
Result<std::optional<ZipDirectory>> FindZipDirectory(ByteSource& source);

}  // namespace varve
