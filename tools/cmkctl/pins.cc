// Reading PINs.
#include "tools/cmkctl/pins.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "pkcs11/wire/socket.h"

namespace cmkd::tools {

namespace {

using Descriptor = wire::Socket;  // closes what it owns

// The line without its end; the rest of `content` is wiped with it.
SecretBytes FirstLine(SecretBytes content) {
  const std::string_view text = AsText(content.view());
  std::size_t end = std::min(text.size(), text.find('\n'));
  if (end > 0 && text[end - 1] == '\r') --end;
  content.Truncate(end);
  return content;
}

Outcome<SecretBytes> ReadPinFile(const PinSource& source, const Screen& screen) {
  const Descriptor file(::open(source.file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!file.valid()) {
    return Refused("PIN_FILE", "Cannot read the " + std::string(source.name) + " from " + source.file + ": " +
                                   std::strerror(errno) + ".");
  }
  struct stat status {};
  if (::fstat(file.fd(), &status) == 0 && S_ISREG(status.st_mode) && (status.st_mode & 0077) != 0) {
    screen.Note(source.file + " holds a PIN and is open to others; chmod 600 closes it.");
  }
  SecretBytes content(kPinBytesMax + 2);
  std::size_t size = 0;
  while (size < content.size()) {
    const ssize_t got = ::read(file.fd(), content.bytes().data() + size, content.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Refused("PIN_FILE", "Cannot read " + source.file + ": " + std::strerror(errno) + ".");
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  content.Truncate(size);
  return FirstLine(std::move(content));
}

// Echo and line editing are off as long as it lives; signals wait in `signals()`.
class QuietTerminal {
 public:
  explicit QuietTerminal(int fd) : fd_(fd) {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaddset(&set, signal);
    sigprocmask(SIG_BLOCK, &set, &mask_);
    signals_ = Descriptor(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (::tcgetattr(fd_, &before_) != 0) return;
    termios quiet = before_;
    quiet.c_lflag &= static_cast<tcflag_t>(~(ECHO | ICANON));
    quiet.c_cc[VMIN] = 1;
    quiet.c_cc[VTIME] = 0;
    ready_ = signals_.valid() && ::tcsetattr(fd_, TCSAFLUSH, &quiet) == 0;
  }
  ~QuietTerminal() {
    if (ready_) ::tcsetattr(fd_, TCSAFLUSH, &before_);
    sigprocmask(SIG_SETMASK, &mask_, nullptr);
  }
  QuietTerminal(const QuietTerminal&) = delete;
  QuietTerminal& operator=(const QuietTerminal&) = delete;
  bool ready() const { return ready_; }

  // Nothing when a signal waits or the terminal is gone.
  std::optional<char> Next() const {
    for (;;) {
      pollfd entries[2] = {{fd_, POLLIN, 0}, {signals_.fd(), POLLIN, 0}};
      if (::poll(entries, 2, -1) < 0 && errno != EINTR) return std::nullopt;
      if (entries[1].revents != 0) return std::nullopt;
      char c = 0;
      if (entries[0].revents == 0) continue;
      if (::read(fd_, &c, 1) != 1) return std::nullopt;
      return c;
    }
  }

 private:
  int fd_;
  sigset_t mask_{};
  Descriptor signals_;
  termios before_{};
  bool ready_ = false;
};

void Say(int fd, std::string_view text) { (void)!::write(fd, text.data(), text.size()); }

// The keys that a terminal's own line editing would have served.
constexpr char kEndOfInput = 4;
constexpr char kEraseLine = 21;
constexpr char kBackspace = 8;
constexpr char kDelete = 127;

std::optional<SecretBytes> TypeLine(int fd) {
  const QuietTerminal terminal(fd);
  if (!terminal.ready()) return std::nullopt;
  SecretBytes line(kPinBytesMax);
  std::size_t size = 0;
  while (const std::optional<char> c = terminal.Next()) {
    if (*c == kEndOfInput) return std::nullopt;
    if (*c == '\n' || *c == '\r') {
      line.Truncate(size);
      return line;
    }
    if (*c == kEraseLine) {
      size = 0;
    } else if (*c == kBackspace || *c == kDelete) {
      size -= size > 0 ? 1 : 0;
    } else if (size < line.size()) {
      line.bytes()[size++] = static_cast<std::uint8_t>(*c);
    }
  }
  return std::nullopt;
}

Failure<Problem> NoPin(const PinSource& source) {
  return UsageProblem("No " + std::string(source.name) + ": neither a file nor " + source.environment +
                          " is given, and there is no terminal to ask on.",
                      "Give --pin-file and --so-pin-file, or set " + std::string(source.environment) + ".");
}

Outcome<SecretBytes> TypeNewPin(const PinSource& source) {
  std::optional<SecretBytes> pin = AskOnTerminal("New " + std::string(source.name) + ": ");
  if (!pin) return NoPin(source);
  const std::optional<SecretBytes> again = AskOnTerminal("The same again: ");
  if (!again || !ConstantTimeEqual(pin->view(), again->view())) {
    return UsageProblem("The two PINs that were typed are not the same.");
  }
  return std::move(*pin);
}

Outcome<SecretBytes> TypePin(const PinSource& source) {
  std::optional<SecretBytes> pin = AskOnTerminal(std::string(source.name) + ": ");
  if (!pin) return NoPin(source);
  return std::move(*pin);
}

using Type = Outcome<SecretBytes> (*)(const PinSource&);

Outcome<SecretBytes> ReadAny(const PinSource& source, const Screen& screen, Type type) {
  if (!source.file.empty()) return ReadPinFile(source, screen);
  if (const char* text = std::getenv(source.environment); text != nullptr) return SecretBytes(AsBytes(text));
  return type(source);
}

Outcome<SecretBytes> ReadChecked(const PinSource& source, const Screen& screen, Type type) {
  ASSIGN_OR_RETURN(SecretBytes pin, ReadAny(source, screen, type));
  if (pin.empty()) return UsageProblem("The " + std::string(source.name) + " is empty.");
  if (pin.size() > kPinBytesMax) return UsageProblem("The " + std::string(source.name) + " is longer than 255 bytes.");
  return pin;
}

}  // namespace

Outcome<SecretBytes> ReadNewPin(const PinSource& source, const Screen& screen) {
  return ReadChecked(source, screen, TypeNewPin);
}

Outcome<SecretBytes> ReadPin(const PinSource& source, const Screen& screen) {
  return ReadChecked(source, screen, TypePin);
}

std::optional<SecretBytes> AskOnTerminal(const std::string& prompt) {
  const Descriptor terminal(::open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY));
  if (!terminal.valid()) return std::nullopt;
  Say(terminal.fd(), prompt);
  std::optional<SecretBytes> line = TypeLine(terminal.fd());
  Say(terminal.fd(), "\n");
  return line;
}

}  // namespace cmkd::tools
