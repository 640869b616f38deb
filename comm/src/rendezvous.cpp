#include "rendezvous.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>
#include <array>
#include <boost/asio.hpp>
#include <charconv>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>

#include "minim/runtime/error.h"
#include "signature.h"

namespace minim::detail {
namespace {

namespace asio = boost::asio;
using asio::awaitable;
using asio::use_awaitable;
using asio::ip::tcp;
using Clock = std::chrono::steady_clock;
using Error = boost::system::error_code;

constexpr std::chrono::milliseconds kBetweenTries{50};

/// What a rank says first on a connection that it makes. Plain records, sent as they are.
struct Hello {
  std::array<char, 8> magic = {'m', 'i', 'n', 'i', 'm', ' ', '1', '\0'};
  std::int32_t rank = 0;
  std::int32_t size = 0;
  std::uint64_t token = 0;  ///< of the group; 0 as long as the rank does not know it
  std::uint64_t machine = 0;
  std::uint64_t port = 0;  ///< where the rank listens
};

/// What rank 0 answers when all have come, or when it gives up.
struct Answer {
  std::uint64_t token = 0;
  char objection[1024] = {};  ///< empty: entries of all ranks follow
};

struct Entry {
  char address[64] = {};  ///< empty: as rank 0's
  std::uint64_t port = 0;
  std::uint64_t machine = 0;
};

template <class Record>
auto bytes_of(Record& record) {
  return asio::buffer(&record, sizeof record);
}

std::uint64_t random_number() {
  std::uint64_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != sizeof number) throw CommError("the system gives no random numbers");
  return number;
}

/// Equal for processes that see the same devices: a machine's containers with names of their own are machines of their own.
std::uint64_t machine_number() {
  std::string boot;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), boot);
  return std::hash<std::string>{}(asio::ip::host_name() + boot);
}

struct Address {
  std::string host, port;
};

Address parse_address(const std::string& text) {
  const auto colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == text.size()) {
    throw InvalidArgument(fmt::format("the ranks' rendezvous is \"{}\", wanted is host:port or the path of a file", text));
  }
  Address address{text.substr(0, colon), text.substr(colon + 1)};
  if (address.host.front() == '[' && address.host.back() == ']') address.host = address.host.substr(1, address.host.size() - 2);
  return address;
}

/// One rank's way to the meeting.
class Rendezvous {
 public:
  explicit Rendezvous(const TcpOptions& options)
      : options_(options),
        by_file_(options.rendezvous.find('/') != std::string::npos),
        sockets_(static_cast<std::size_t>(options.size)),
        entries_(static_cast<std::size_t>(options.size)),
        acceptor_(io_) {
    if (options.size < 1 || options.rank < 0 || options.rank >= options.size) {
      throw InvalidArgument(fmt::format("rank {} of {} ranks cannot be", options.rank, options.size));
    }
    if (!by_file_) parse_address(options.rendezvous);
    own_entry().machine = machine_number();
  }

  Meeting run() {
    if (options_.size > 1) {
      // Rank 0 speaks at its deadline: it knows who is missing. The others give it time to.
      const auto deadline = options_.rank == 0 ? options_.deadline : options_.deadline * 5 / 4;
      const auto end = Clock::now() + deadline;
      std::exception_ptr failure;
      bool met = false;
      asio::co_spawn(io_, meet(), [&](std::exception_ptr thrown) {
        failure = std::move(thrown);
        met = true;
      });
      while (!met && Clock::now() < end) io_.run_one_until(end);
      const std::string objection = failure ? text_of(failure) : met ? std::string() : missing_ranks_text();
      if (!objection.empty()) {
        if (options_.rank == 0) answer_with(objection);
        throw CommError(objection);
      }
      if (options_.rank == 0 && by_file_) std::filesystem::remove(options_.rendezvous, ignored_);
    }
    return take_meeting();
  }

 private:
  Entry& own_entry() { return entries_[static_cast<std::size_t>(options_.rank)]; }
  std::optional<tcp::socket>& socket(int rank) { return sockets_[static_cast<std::size_t>(rank)]; }

  static std::string text_of(const std::exception_ptr& failure) {
    try {
      std::rethrow_exception(failure);
    } catch (const std::exception& error) {
      return error.what();
    }
  }

  awaitable<void> meet() {
    listen();
    if (options_.rank == 0) {
      token_ = random_number();
      publish();
      co_await accept_higher_ranks();
      answer_with({});
    } else {
      co_await greet_first_rank();
      for (int rank = 1; rank < options_.rank; ++rank) co_await greet(rank);
      co_await accept_higher_ranks();
    }
  }

  void listen() {
    const bool is_named = options_.rank == 0 && !by_file_;
    const std::string named = is_named ? parse_address(options_.rendezvous).port : "0";
    int port = 0;
    const auto [end, wrong] = std::from_chars(named.data(), named.data() + named.size(), port);
    if (wrong != std::errc() || end != named.data() + named.size() || port < 0 || port > 65535) {
      throw CommError(fmt::format("the ranks' rendezvous {} has no port that is a number", options_.rendezvous));
    }
    Error error;
    tcp::endpoint endpoint(tcp::v6(), static_cast<std::uint16_t>(port));
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(asio::ip::v6_only(false), error);
    if (error) {  // a machine without IPv6
      endpoint = {tcp::v4(), endpoint.port()};
      acceptor_.close(ignored_error_);
      acceptor_.open(endpoint.protocol(), error);
    }
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error) throw CommError(fmt::format("rank {} cannot listen on port {}: {}", options_.rank, port, error.message()));
    own_entry().port = acceptor_.local_endpoint().port();
  }

  /// Under a temporary name first: nobody reads half an address.
  void publish() {
    if (!by_file_) return;
    const std::string temporary = options_.rendezvous + ".new";
    std::ofstream file(temporary, std::ios::trunc);
    file << asio::ip::host_name() << ':' << own_entry().port << std::endl;
    std::error_code error;
    if (file) std::filesystem::rename(temporary, options_.rendezvous, error);
    if (!file || error) throw CommError(fmt::format("rank 0 cannot write the ranks' rendezvous {}", options_.rendezvous));
  }

  awaitable<void> accept_higher_ranks() {
    waits_for_.clear();
    for (int rank = options_.rank + 1; rank < options_.size; ++rank) waits_for_.push_back(rank);
    const auto over = [this] { return waits_for_.empty() || !objection_.empty(); };
    while (!over()) {
      Error error;
      tcp::socket peer = co_await acceptor_.async_accept(asio::redirect_error(use_awaitable, error));
      if (over()) break;
      if (error) throw CommError(fmt::format("rank {} cannot be reached by the others: {}", options_.rank, error.message()));
      // Greetings are read side by side: a stranger who says nothing keeps nobody waiting.
      asio::co_spawn(io_, admit(std::move(peer)), [this, over](const std::exception_ptr&) {
        if (over()) acceptor_.cancel(ignored_error_);
      });
    }
    if (!objection_.empty()) throw CommError(objection_);
  }

  /// Reads who has called. Strangers, and ranks of other groups, are left alone.
  awaitable<void> admit(tcp::socket peer) {
    Hello hello;
    co_await asio::async_read(peer, bytes_of(hello), use_awaitable);
    if (hello.magic != Hello().magic || hello.token != (options_.rank == 0 ? 0 : token_)) co_return;
    const auto awaited = std::find(waits_for_.begin(), waits_for_.end(), hello.rank);
    if (hello.size != options_.size) {
      objection_ = fmt::format("rank {} belongs to a group of {}, rank {} to one of {}", hello.rank, hello.size, options_.rank,
                               options_.size);
    } else if (awaited == waits_for_.end()) {
      objection_ = fmt::format("a second process came as rank {}", hello.rank);
    }
    if (!objection_.empty()) {
      answer(peer, objection_);
      co_return;
    }
    Entry& entry = entries_[static_cast<std::size_t>(hello.rank)];
    entry.port = hello.port;
    entry.machine = hello.machine;
    // Rank 0 may know a rank of its own machine by an address that means nothing elsewhere.
    if (hello.machine != own_entry().machine) copy_text(peer.remote_endpoint().address().to_string(), entry.address);
    socket(hello.rank) = std::move(peer);
    waits_for_.erase(awaited);
  }

  template <std::size_t kBytes>
  static void copy_text(const std::string& text, char (&field)[kBytes]) {
    std::memcpy(field, text.data(), std::min(text.size(), kBytes - 1));
  }

  /// To all ranks that have come.
  void answer_with(const std::string& objection) {
    for (auto& peer : sockets_) {
      if (peer) answer(*peer, objection);
    }
  }

  /// Messages are short: they fit into the buffers of a fresh connection.
  void answer(tcp::socket& peer, const std::string& objection) {
    Answer answer{.token = token_};
    copy_text(objection, answer.objection);
    asio::write(peer, bytes_of(answer), ignored_error_);
    if (objection.empty()) asio::write(peer, asio::buffer(entries_), ignored_error_);
  }

  awaitable<tcp::socket> connect(int rank, std::function<Address()> address_of) {
    waits_for_ = {rank};
    tcp::resolver resolver(io_);
    asio::steady_timer timer(io_);
    for (;; co_await timer.async_wait(use_awaitable)) {
      timer.expires_after(kBetweenTries);
      const Address address = address_of();
      if (address.host.empty()) continue;
      Error error;
      // Names of this machine are known without a resolver, which small systems do not set up.
      const bool is_here = address.host == "localhost" || address.host == asio::ip::host_name();
      const std::string host = is_here ? "127.0.0.1" : address.host;
      const auto found = co_await resolver.async_resolve(host, address.port, asio::redirect_error(use_awaitable, error));
      tcp::socket peer(io_);
      if (!error) co_await asio::async_connect(peer, found, asio::redirect_error(use_awaitable, error));
      // A port that nobody listens on may be picked for this very connection, which then reaches itself.
      if (!error && peer.local_endpoint() != peer.remote_endpoint()) {
        last_error_.clear();
        co_return peer;
      }
      if (error) last_error_ = fmt::format("{}:{}: {}", address.host, address.port, error.message());
    }
  }

  Hello hello() {
    return {
        .rank = options_.rank, .size = options_.size, .token = token_, .machine = own_entry().machine, .port = own_entry().port};
  }

  awaitable<void> greet_first_rank() {
    tcp::socket first = co_await connect(0, [this] { return first_address(); });
    Hello greeting = hello();
    co_await asio::async_write(first, bytes_of(greeting), use_awaitable);
    Answer answer;
    Error error;
    co_await asio::async_read(first, bytes_of(answer), asio::redirect_error(use_awaitable, error));
    if (error) throw CommError(fmt::format("rank 0 went before all ranks had met: {}", error.message()));
    if (answer.objection[0] != '\0') throw CommError(answer.objection);
    co_await asio::async_read(first, asio::buffer(entries_), use_awaitable);
    token_ = answer.token;
    first_host_ = first.remote_endpoint().address().to_string();
    socket(0) = std::move(first);
  }

  /// Rank 0's; empty while it is not known. Read anew each time, since a file may be left of another group.
  Address first_address() {
    if (!by_file_) return parse_address(options_.rendezvous);
    std::string text;
    std::getline(std::ifstream(options_.rendezvous), text);
    return text.empty() ? Address{} : parse_address(text);
  }

  awaitable<void> greet(int rank) {
    const Entry& entry = entries_[static_cast<std::size_t>(rank)];
    const std::string host = entry.address[0] == '\0' ? first_host_ : entry.address;
    tcp::socket peer = co_await connect(rank, [&] { return Address{host, std::to_string(entry.port)}; });
    Hello greeting = hello();
    co_await asio::async_write(peer, bytes_of(greeting), use_awaitable);
    socket(rank) = std::move(peer);
  }

  std::string missing_ranks_text() const {
    std::string text = fmt::format("rendezvous at {}: {} missing after {:.1f} s", options_.rendezvous, rank_list(waits_for_),
                                   std::chrono::duration<double>(options_.deadline).count());
    if (!last_error_.empty()) text += fmt::format(" ({})", last_error_);
    return text;
  }

  Meeting take_meeting() {
    Meeting meeting;
    for (int rank = 0; rank < options_.size; ++rank) {
      meeting.machines.push_back(entries_[static_cast<std::size_t>(rank)].machine);
      auto& peer = socket(rank);
      if (!peer) {
        meeting.peers.emplace_back();
        continue;
      }
      peer->set_option(tcp::no_delay(true), ignored_error_);
      meeting.peers.emplace_back(peer->release());
    }
    return meeting;
  }

  const TcpOptions& options_;
  bool by_file_;
  asio::io_context io_;
  std::vector<std::optional<tcp::socket>> sockets_;  // by rank
  std::vector<Entry> entries_;                       // by rank
  tcp::acceptor acceptor_;
  std::uint64_t token_ = 0;
  std::string first_host_;  // as this rank reaches rank 0
  std::vector<int> waits_for_;
  std::string objection_;
  std::string last_error_;
  Error ignored_error_;
  std::error_code ignored_;
};

}  // namespace

Meeting meet(const TcpOptions& options) { return Rendezvous(options).run(); }

}  // namespace minim::detail
