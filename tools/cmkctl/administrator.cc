// Builds requests, takes answers apart, and puts a failed connection into words.
#include "tools/cmkctl/administrator.h"

#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "common/limits.h"
#include "pkcs11/spec/return_values.h"
#include "tools/cmkctl/commands.h"

namespace cmkd::tools {

namespace {

constexpr std::string_view kReads[] = {"status",     "token.list",  "key.list", "key.show",
                                       "audit.show", "token.epoch", "key.users"};

bool Changes(std::string_view verb) {
  for (const std::string_view read : kReads) {
    if (verb == read) return false;
  }
  return true;
}

std::string NewRequestId() {
  std::array<std::uint8_t, 16> id{};
  if (::getrandom(id.data(), id.size(), 0) != static_cast<ssize_t>(id.size())) return {};
  return Hex(id);
}

remote::Options ClientOptions(const std::string& socket, std::chrono::milliseconds deadline, Administrator::Peer peer) {
  remote::Options options;
  options.socket_path = socket;
  options.deadline = deadline;
  options.resumes = peer == Administrator::Peer::kDaemon;
  return options;
}

Failure<Problem> NotUnderstood(std::string what) {
  return Refused("BAD_ANSWER", std::move(what), {}, "Use a cmkctl and a cmkd of the same version.");
}

// What connect() says of the socket: 0 when somebody listens.
int ConnectError(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return ENAMETOOLONG;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const wire::Socket socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return errno;
  return ::connect(socket.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
}

Problem FromAnswer(const Value& error) {
  Problem problem{ExitStatus::kRefused, error.Text("code"), error.Text("message"), error.Text("rule"),
                  error.Text("remedy")};
  if (problem.code.empty()) problem.code = "REFUSED";
  if (problem.message.empty()) problem.message = "The daemon refused and did not say why.";
  return problem;
}

}  // namespace

Administrator::Administrator(std::string socket, std::chrono::milliseconds deadline, Peer peer)
    : socket_(std::move(socket)), client_(ClientOptions(socket_, deadline, peer)) {}

Administrator::Administrator(const Context& context) : Administrator(context.socket) {
  request_id_ = context.request_id;
  dry_run_ = context.dry_run;
}

Outcome<Value> Administrator::Ask(std::string_view verb, const Object& arguments) {
  Object request;
  request.Set("verb", verb).Set("arguments", arguments);
  if (Changes(verb)) request.SetIfAny("request", request_id_.empty() ? NewRequestId() : request_id_);
  if (Changes(verb) && dry_run_) request.Set("dry_run", true);
  std::string line = request.Line();
  if (line.size() > limits::kAdminBytesMax) return UsageProblem("The request is longer than a daemon takes.");
  spec::Call<spec::CallId::Admin> call;
  call.request.data = reinterpret_cast<CK_BYTE_PTR>(line.data());
  call.request.length = line.size();
  const CK_RV rv = client_.Answer(call);
  const std::optional<Value> answer = Value::Parse(AsText(call.answer.value));
  if (!answer || !answer->IsObject()) {
    RETURN_IF_ERROR(Judge(verb, rv));
    return NotUnderstood("The daemon's answer to " + std::string(verb) + " is not what cmkctl knows.");
  }
  if (!answer->Flag("ok")) return Failure{FromAnswer(answer->At("error"))};
  return answer->At("result");
}

Outcome<void> Administrator::Judge(std::string_view call, CK_RV rv) const {
  if (rv == CKR_OK) return {};
  if (rv == CKR_DEVICE_REMOVED) return Failure{NobodyAnswers(socket_)};
  const spec::ReturnValueRow* row = spec::FindReturnValue(rv);
  const std::string sentence = row == nullptr ? std::string("The daemon gave a value that the standard does not have.")
                                              : std::string(row->sentence);
  if (!client_.connected_before()) return Failure{NobodyAnswers(socket_)};
  if (rv == CKR_FUNCTION_FAILED || rv == CKR_DEVICE_ERROR) {
    // Either the daemon said so, or the connection ended on the way.
    if (ConnectError(socket_) != 0) return Failure{NobodyAnswers(socket_)};
    return Refused(spec::ReturnValueName(rv), std::string(call) + ": " + sentence, {},
                   "Look at what is there before repeating a change, and at the daemon's log.");
  }
  return Refused(spec::ReturnValueName(rv), std::string(call) + ": " + sentence);
}

Problem NobodyAnswers(const std::string& socket) {
  Problem problem{ExitStatus::kUnreachable, "NO_DAEMON", {}, {}, {}};
  switch (ConnectError(socket)) {
    case ENOENT:
      problem.message = "There is no socket " + socket + ".";
      problem.remedy = "Start cmkd, or say where its socket is: --socket PATH or CMKD_SOCKET.";
      break;
    case ECONNREFUSED:
      problem.message = "No daemon listens on " + socket + ".";
      problem.remedy = "Start cmkd; what its last run said is in its log.";
      break;
    case EACCES:
    case EPERM:
      problem.message = "This user may not connect to " + socket + ".";
      problem.remedy = "Join the group that owns the socket, or ask an operator.";
      break;
    case ENAMETOOLONG:
      problem.status = ExitStatus::kUsage;
      problem.message = "The socket's path is longer than the 107 bytes that Unix sockets allow.";
      break;
    case 0:
      problem.message = "The daemon on " + socket + " ended the conversation.";
      problem.remedy = "Try again; if it stays so, the daemon's log says why.";
      break;
    default: problem.message = "Cannot connect to " + socket + ": " + std::strerror(errno) + "."; break;
  }
  return problem;
}

}  // namespace cmkd::tools
