// What an application has at the daemon, remembered on the application's side, so that a daemon that was restarted can
// be given it back: sessions, the sealed ticket of its logins, sealed session objects, and the frames that began and
// fed each operation. The sealed parts are opaque here.
//
// Operations that return nothing before their end (digest, sign, verify) can be done again from the start, and are, up
// to kRepeatedBytesMax of input. One that has returned output is not repeated: the key may have rotated in between, and
// no output may be half of one version and half of another.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "common/bytes.h"
#include "common/limits.h"
#include "pkcs11/spec/call_table.h"
#include "pkcs11/wire/buffer.h"
#include "pkcs11/wire/reader.h"
#include "pkcs11/wire/trailer.h"

namespace cmkd::remote {

// Safe from any thread.
class Resumption {
 public:
  // The payload of a request, wiped when it goes: it may hold what is being signed.
  class Frame {
   public:
    Frame(spec::CallId of, ByteView payload) : call(of), payload_(ToBytes(payload)) {}
    Frame(const Frame&) = default;
    Frame(Frame&&) = default;
    Frame& operator=(const Frame&) = delete;
    Frame& operator=(Frame&&) = delete;
    ~Frame() { Wipe(payload_); }
    ByteView payload() const { return payload_; }
    const spec::CallId call;

   private:
    Bytes payload_;
  };
  // One operation that can be had again by sending `frames`: its …Init call, and what it was fed.
  struct Begun {
    CK_SESSION_HANDLE session;
    std::vector<Frame> frames;
    std::size_t fetched;  // handles that C_FindObjects has already returned
  };
  // Input bytes of one operation that are kept for another daemon.
  static constexpr std::size_t kRepeatedBytesMax = 64 * 1024;
  // A frame less what a hello has beside the resumption.
  static constexpr std::size_t kEncodedBytesMax = limits::kFrameBytesMax - 4096;

  void Opened(CK_SESSION_HANDLE session, CK_SLOT_ID slot, CK_FLAGS flags);
  void Closed(CK_SESSION_HANDLE session);
  void ClosedAll(CK_SLOT_ID slot);
  // C_SessionCancel with these flags succeeded.
  void Cancelled(CK_SESSION_HANDLE session, CK_FLAGS flags);

  // What a call did, as far as its row does not say it.
  struct Deed {
    ByteView payload;  // of the request
    CK_RV rv = CKR_OK;
    bool asked = false;       // it only asked for a length
    bool cancel = false;      // an Init with a NULL mechanism
    bool last = false;        // the last part of a message
    std::size_t fetched = 0;  // handles that came
  };
  // Follows the operation of `session` that a call of `row` has begun, fed or ended.
  void Followed(const spec::CallRow& row, CK_SESSION_HANDLE session, const Deed& deed);
  // C_SetOperationState succeeded: whatever was active is gone, and an operation of `kind` has come. Its request takes
  // the place of an Init.
  void StateSet(CK_SESSION_HANDLE session, spec::OperationKind kind, ByteView payload);

  // True, once, when the operation that this call would go on with died with the daemon.
  bool TakeLost(const spec::CallRow& row, CK_SESSION_HANDLE session);

  // Reads the trailers behind a call's results, keeps what is in them, and says of which kinds they were. Nothing when
  // they are malformed.
  std::optional<wire::TrailerKinds> ReadTrailers(wire::Reader& r);
  void SetTicket(ByteView ticket);

  // The resumption of the Hello call, in at most `bytes_max` (a whole frame): objects that find no room are left out.
  Bytes Encode(std::size_t bytes_max = kEncodedBytesMax) const;
  // After the daemon took it: the operations to begin again. Operations that were fed are lost from now on.
  std::vector<Begun> TakeBegun();
  // The daemon could not take it: the application starts with nothing.
  void Forget();

 private:
  struct Operation {
    bool active = false;
    std::vector<Frame> frames;  // empty in an active operation: it cannot be repeated
    std::size_t bytes = 0;      // of all frames
    bool in_message = false;    // of message operations: a message has begun that comes in parts
    bool lost = false;
    std::size_t fetched = 0;
    void Begin(const spec::CallRow& row, ByteView payload);
    void Feed(const spec::CallRow& row, ByteView payload);
    void MayNotBeRepeated() { frames.clear(); }
    void End();
  };
  struct Session {
    CK_SLOT_ID slot = 0;
    CK_FLAGS flags = 0;
    std::map<spec::OperationKind, Operation> operations;
  };
  struct Object {
    CK_SESSION_HANDLE session = 0;
    Bytes sealed;
  };

  void Keep(const wire::TrailerView& trailer);
  void KeepObject(CK_OBJECT_HANDLE handle, CK_SESSION_HANDLE session, ByteView sealed);
  void DropObject(CK_OBJECT_HANDLE handle);
  void DropObjectsOf(CK_SESSION_HANDLE session);
  bool TakeLost(Session& session, spec::OperationKind kind);

  mutable std::mutex mutex_;
  std::map<CK_SESSION_HANDLE, Session> sessions_;
  std::map<CK_OBJECT_HANDLE, Object> objects_;
  // The same by their session, so that closing one does not look at the objects of all others.
  std::set<std::pair<CK_SESSION_HANDLE, CK_OBJECT_HANDLE>> by_session_;
  Bytes ticket_;
  std::atomic<std::size_t> lost_{0};
};

}  // namespace cmkd::remote
