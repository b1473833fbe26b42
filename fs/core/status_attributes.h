// The status attributes of a file: `user.varve.complete` and its siblings.
//
// They say what VarveFS knows about a content. getxattr answers them, listxattr
// never lists them. Live files and version files answer through the same
// function, so that they cannot disagree.
//
//   complete     "1" when the content is captured and whole as its format defines it
//   format       "plain", "safetensors", "torch-zip"
//   incomplete   why it is not complete; no such attribute on what is complete
//   durable      "1" when it is captured and survives a power cut
//   stored       "1" when it is in packs, its staging file no longer needed
//   version      the number of the version; of a live file, of its newest one
//   mode, mtime  versions only: the permission bits ("0644") and the modification time
//                (seconds since 1970, nine digits of fraction) at capture
//   id           16 hexadecimal digits that name this content in its store
//
// Threads: a free function.
// Format:  docs/SEMANTICS.md, "Status attributes".
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "fs/core/keys.h"
#include "fs/core/records.h"

namespace varve {

inline constexpr std::string_view kStatusAttributePrefix = "user.varve.";

struct StatusFacts {
  ContentRecord content;
  ContentId id = 0;
  std::optional<VersionNumber> version;  // nothing when there is none yet
};

// Whether `name` tells something that a pending content's bytes have to be asked for
// (content_verdict.h).
bool IsVerdict(std::string_view name);

// The value of the attribute `name`, prefix included; nothing when it has none.
std::optional<std::string> StatusAttribute(std::string_view name, const StatusFacts& facts);

// "plain", "safetensors", "torch-zip".
std::string_view FormatName(ContentFormat format);

// Whether a content is whole: captured, not torn, and complete as its format says.
bool IsComplete(const ContentRecord& content);

}  // namespace varve
