// The device's own audit: what was done to it and with whom logged in, the newest kRecordsMax records, each in a chain
// with the one before. Nobody can erase it but by destroying the whole device; the auditor reads it, under a signature.
//
// Not every use of a key is here (the host's audit has those), but what changes who may do what and which keys there
// are.
#pragma once

#include <deque>
#include <mutex>
#include <string>

#include "firmware_sim/flash.h"

namespace cmkd::sim {

// Any thread.
class AuditRing {
 public:
  static constexpr std::size_t kSegmentRecords = 32;  // of one record of the flash, which is written as a whole
  static constexpr std::size_t kSegments = 32;
  static constexpr std::size_t kRecordsMax = kSegmentRecords * kSegments;

  explicit AuditRing(Flash& flash) : flash_(flash) {}
  // Errors: CKR_DEVICE_ERROR for a ring that is damaged or not the one that was written.
  Status Load();

  struct Event {
    std::string_view who;   // an identity's name
    std::string_view what;  // one or a few words
    CK_RV rv = CKR_OK;
    std::string_view detail = {};  // one line, shortened
  };
  // Durable when it returns. Errors: those of Flash::Write; the record then goes with the next one.
  Status Record(const Event& event);
  // Durable with the next Record() or Flush().
  void Note(const Event& event);
  // Errors: those of Flash::Write.
  Status Flush();

  // The records that are there, oldest first, one a line, between the number and chain value that went before them and
  // those of the last.
  std::string Text() const;
  // Whether such a text is whole: no record missing, changed or moved. Errors: CKR_DATA_INVALID.
  static Status Check(std::string_view text);

 private:
  struct Segment {
    std::uint64_t first = 1;  // number of its first record
    Bytes before;             // the chain's value before that
    std::deque<std::string> lines;
    bool dirty = false;
  };
  static Fallible<Bytes> Chain(ByteView before, std::string_view line);
  Status Append(const Event& event);
  Status FlushLocked();

  Flash& flash_;
  mutable std::mutex mutex_;
  std::deque<Segment> segments_;  // oldest first; only the last one grows
  std::uint64_t last_ = 0;        // number of the last record
  Bytes chain_ = Bytes(32);       // after it
};

}  // namespace cmkd::sim
