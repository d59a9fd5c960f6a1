// The client's connections: borrowed, opened, given back, opened again.
#include "pkcs11/remote/client.h"

#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>

namespace cmkd::remote {

namespace {

// More idle connections than this are closed when they come back.
constexpr std::size_t kIdleMax = 32;
constexpr int kAttemptsMax = 4;

std::chrono::milliseconds Now() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return std::chrono::milliseconds(t.tv_sec * 1000 + t.tv_nsec / 1'000'000);
}

void Sleep(std::chrono::milliseconds duration) {
  timespec t{duration.count() / 1000, (duration.count() % 1000) * 1'000'000};
  while (::nanosleep(&t, &t) != 0 && errno == EINTR) {
  }
}

bool MakesKeys(const spec::CallRow& row) { return row.replay == spec::Replay::kTagged; }

}  // namespace

void Client::Close() {
  const std::lock_guard connect_lock(connect_mutex_);
  DropIdle();
  application_.fill(0);
  resumption_.Forget();
  known_.store(false, std::memory_order_release);
}

CK_RV Client::Borrow(ConnectionPtr& connection) {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      connection = std::move(idle_.back());
      idle_.pop_back();
      return CKR_OK;
    }
  }
  // A daemon that stops leaves its socket's file behind; where there is none, there is nothing to wait for.
  const bool was_there = ::access(options_.socket_path.c_str(), F_OK) == 0;
  const std::chrono::milliseconds first = was_there ? options_.first_wait : std::chrono::milliseconds(0);
  const std::chrono::milliseconds give_up = Now() + (connected_before() ? options_.wait : first);
  for (std::chrono::milliseconds pause{2};; pause = std::min(pause * 2, std::chrono::milliseconds(100))) {
    connection = TryConnect();
    if (connection != nullptr) return CKR_OK;
    if (Now() >= give_up) return CKR_DEVICE_REMOVED;
    Sleep(pause);
  }
}

void Client::Return(ConnectionPtr connection) {
  connection->request.Clear();
  connection->response.Clear();
  connection->bulk = {};
  connection->landing = nullptr;
  const std::lock_guard lock(mutex_);
  if (idle_.size() < kIdleMax) idle_.push_back(std::move(connection));
}

void Client::DropIdle() {
  std::vector<ConnectionPtr> gone;
  const std::lock_guard lock(mutex_);
  gone.swap(idle_);
}

Client::ConnectionPtr Client::TryConnect() {
  const std::lock_guard connect_lock(connect_mutex_);
  auto connection = std::make_unique<Connection>();
  connection->link = lane::ClientLink(wire::Connect(options_.socket_path));
  if (!connection->link.valid()) return nullptr;
  return SayHello(*connection) ? std::move(connection) : nullptr;
}

// PROTOCOL.md, "Hello".
bool Client::SayHello(Connection& connection) {
  enum class Outcome : std::uint8_t { kJoined = 0, kRestored = 1, kFresh = 2 };
  spec::Call<spec::CallId::Hello> hello;
  hello.version.value = wire::kProtocolVersion;
  const bool known = connected_before() && options_.resumes;
  Bytes resumption;
  if (known) {
    hello.application = {application_.data(), application_.size()};
    resumption = resumption_.Encode();
    hello.resumption = {resumption.data(), resumption.size()};
  }
  wire::BeginFrame(connection.request);
  wire::Writer writer(connection.request);
  wire::EncodeCall(writer, hello);
  if (RoundTrip(connection, spec::Row(spec::CallId::Hello), 0) != Trip::kDone) return false;
  wire::Reader reader(connection.response.view());
  if (reader.U64() != CKR_OK || !wire::DecodeResults(reader, hello, CKR_OK)) return false;
  wire::Reader answer(hello.answer.value);
  const std::uint32_t version = answer.U32();
  const auto outcome = static_cast<Outcome>(answer.U8());
  const ByteView application = answer.Raw(application_.size());
  const ByteView ticket = answer.Blob();
  if (!answer.ok() || version == 0 || version > wire::kProtocolVersion) return false;
  std::copy(application.begin(), application.end(), application_.begin());
  if (!options_.resumes) {
    known_.store(true, std::memory_order_release);
    return true;
  }
  if (outcome == Outcome::kFresh && known) resumption_.Forget();
  if (outcome != Outcome::kJoined) resumption_.SetTicket(ticket);
  known_.store(true, std::memory_order_release);
  return outcome != Outcome::kRestored || BeginAgain(connection);
}

// Repeats what began and fed the operations that the old daemon knew and the new one does not.
bool Client::BeginAgain(Connection& connection) {
  for (const Resumption::Begun& begun : resumption_.TakeBegun()) {
    for (const Resumption::Frame& frame : begun.frames) {
      wire::BeginFrame(connection.request);
      wire::Writer writer(connection.request);
      writer.Raw(frame.payload());
      if (RoundTrip(connection, spec::Row(frame.call), next_request_.fetch_add(1)) != Trip::kDone) return false;
    }
    for (std::size_t left = begun.fetched; left != 0;) {
      std::vector<CK_OBJECT_HANDLE> skipped(std::min(left, limits::kFindBatchMax));
      CK_ULONG count = 0;
      spec::Call<spec::CallId::C_FindObjects> find;
      find.session.value = begun.session;
      find.objects = {skipped.data(), skipped.size(), &count};
      wire::BeginFrame(connection.request);
      wire::Writer next(connection.request);
      wire::EncodeCall(next, find);
      if (RoundTrip(connection, spec::Row(find.kId), next_request_.fetch_add(1)) != Trip::kDone) return false;
      wire::Reader reader(connection.response.view());
      const CK_RV rv = reader.U64();
      if (rv != CKR_OK || !wire::DecodeResults(reader, find, rv) || count == 0) break;
      left -= count;
    }
  }
  return true;
}

CK_RV Client::Transact(ConnectionPtr& connection, const spec::CallRow& row, CK_SESSION_HANDLE session, CK_RV& answer) {
  const std::uint64_t request_id = next_request_.fetch_add(1, std::memory_order_relaxed);
  for (int attempt = 0;; ++attempt) {
    const Trip trip = RoundTrip(*connection, row, request_id);
    if (trip == Trip::kDone) {
      wire::Reader reader(connection->response.view());
      answer = reader.U64();
      if (reader.ok()) return CKR_OK;
      return CKR_DEVICE_ERROR;
    }
    if (trip == Trip::kTimeout) return CKR_DEVICE_ERROR;
    // The connection ended: so did its idle neighbours, for the daemon closes single connections only on a breach.
    DropIdle();
    if (!options_.resumes) return CKR_DEVICE_REMOVED;
    if (trip == Trip::kSent && row.replay == spec::Replay::kNever) return CKR_FUNCTION_FAILED;
    if (attempt == kAttemptsMax) return CKR_DEVICE_ERROR;
    const ConnectionPtr before = std::move(connection);
    if (const CK_RV rv = Borrow(connection); rv != CKR_OK) return CKR_DEVICE_ERROR;
    connection->request = std::move(before->request);
    connection->bulk = before->bulk;
    connection->bulk_at = before->bulk_at;
    connection->landing = before->landing;
    if (options_.resumes && resumption_.TakeLost(row, session)) {
      Return(std::move(connection));
      return CKR_FUNCTION_FAILED;
    }
  }
}

Client::Trip Client::RoundTrip(Connection& connection, const spec::CallRow& row, std::uint64_t request_id) {
  if (!wire::FinishFrame(connection.request, row.id, 0, request_id)) return Trip::kTimeout;
  const auto payload_bytes =
      static_cast<std::uint32_t>(connection.request.size() - sizeof(wire::FrameHeader) + connection.bulk.size());
  std::memcpy(connection.request.data() + offsetof(wire::FrameHeader, payload_bytes), &payload_bytes,
              sizeof payload_bytes);
  connection.link.SetDeadline(MakesKeys(row) ? options_.slow_deadline : options_.deadline);
  if (++connection.calls == options_.calls_before_lane && lanes_fit_.load(std::memory_order_relaxed) &&
      !connection.link.OpenLane()) {
    // An application may outlive an upgrade of the daemon. From now on the socket will do.
    if (connection.link.lane_is_foreign()) lanes_fit_.store(false, std::memory_order_relaxed);
    return Trip::kNotSent;
  }
  // Memory takes a frame also when nobody reads it any more, and this call may not be sent twice.
  if (row.replay == spec::Replay::kNever && connection.link.has_lane() && connection.link.Ended())
    return Trip::kNotSent;
  const ByteView request = connection.request.view();
  const std::size_t split = connection.bulk.empty() ? request.size() : connection.bulk_at;
  const ByteView pieces[] = {request.first(split), connection.bulk, request.subspan(split)};
  if (!connection.link.Send(connection.bulk.empty() ? lane::Pieces(pieces, 1) : lane::Pieces(pieces)))
    return Trip::kNotSent;
  wire::FrameHeader header{};
  switch (connection.link.ReceiveFrame(header, connection.response, connection.landing)) {
    case wire::Receive::kClosed: return Trip::kSent;
    case wire::Receive::kTimeout: return Trip::kTimeout;
    case wire::Receive::kMalformed: return Trip::kTimeout;
    case wire::Receive::kFrame: break;
  }
  const bool mine =
      header.call == spec::WireId(row.id) && header.flags == wire::kResponse && header.request_id == request_id;
  return mine ? Trip::kDone : Trip::kTimeout;
}

}  // namespace cmkd::remote
