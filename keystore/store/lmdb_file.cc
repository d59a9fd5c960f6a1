// The walk over LMDB's file format, version 1 (LMDB 0.9, 64 bit, native byte order), as far as the store uses it: one
// tree without duplicates, and LMDB's own tree of free pages.
#include "keystore/store/lmdb_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <vector>

#include "keystore/store/lmdb_error.h"

namespace cmkd::store {
namespace {

constexpr std::uint32_t kMetaMagic = 0xBEEFC0DE;
constexpr std::uint32_t kMetaVersion = 1;
constexpr std::uint64_t kNoPage = ~std::uint64_t{0};
constexpr std::size_t kPageHeaderBytes = 16;
constexpr std::size_t kNodeHeaderBytes = 8;
constexpr std::size_t kKeyBytesBound = 511;
constexpr std::size_t kDepthMax = 32;  // LMDB's cursor stack

// Page flags.
constexpr std::uint16_t kBranchPage = 0x01;
constexpr std::uint16_t kLeafPage = 0x02;
constexpr std::uint16_t kOverflowPage = 0x04;
constexpr std::uint16_t kMetaPage = 0x08;
// Node and tree flags.
constexpr std::uint16_t kBigData = 0x01;
constexpr std::uint16_t kIntegerKeys = 0x08;

// Nothing of the file is aligned as its type would like.
template <class T>
T At(ByteView bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

struct Tree {
  std::uint16_t flags = 0;
  std::uint16_t depth = 0;
  std::uint64_t entries = 0;
  std::uint64_t root = kNoPage;
};

struct MetaPage {
  std::uint32_t page_bytes = 0;
  Tree free;
  Tree main;
  std::uint64_t last_page = 0;
  std::uint64_t transaction = 0;
};

constexpr std::size_t kTreeBytes = 48;
constexpr std::size_t kMetaBytes = 24 + 2 * kTreeBytes + 16;

Tree ParseTree(ByteView bytes) {
  Tree tree;
  tree.flags = At<std::uint16_t>(bytes, 4);
  tree.depth = At<std::uint16_t>(bytes, 6);
  tree.entries = At<std::uint64_t>(bytes, 32);
  tree.root = At<std::uint64_t>(bytes, 40);
  return tree;
}

// Nothing when the page at `number` does not look like a meta page of this format.
std::optional<MetaPage> ParseMeta(ByteView page, std::uint64_t number) {
  if (page.size() < kPageHeaderBytes + kMetaBytes) return std::nullopt;
  const ByteView body = page.subspan(kPageHeaderBytes);
  const bool is_meta = At<std::uint64_t>(page, 0) == number && At<std::uint16_t>(page, 10) == kMetaPage &&
                       At<std::uint32_t>(body, 0) == kMetaMagic && At<std::uint32_t>(body, 4) == kMetaVersion;
  if (!is_meta) return std::nullopt;
  MetaPage meta;
  meta.page_bytes = At<std::uint32_t>(body, 24);
  meta.free = ParseTree(body.subspan(24));
  meta.main = ParseTree(body.subspan(24 + kTreeBytes));
  meta.last_page = At<std::uint64_t>(body, 24 + 2 * kTreeBytes);
  meta.transaction = At<std::uint64_t>(body, 24 + 2 * kTreeBytes + 8);
  return meta;
}

bool IsPageSize(std::uint32_t bytes) { return bytes >= 512 && bytes <= 65536 && (bytes & (bytes - 1)) == 0; }

// One node of a page, with its parts inside the page's bounds.
struct Node {
  std::uint16_t flags = 0;
  ByteView key;
  std::uint64_t child = 0;       // of a branch
  std::uint32_t data_bytes = 0;  // of a leaf
  ByteView data;                 // of a leaf: the value, or eight bytes naming its overflow page
};

}  // namespace

// What is true of the file as it was when it was opened; the walks borrow it.
struct LmdbFile::Ground {
  ~Ground() { ::close(fd); }

  int fd = -1;
  std::uint64_t file_bytes = 0;
  MetaPage meta;
  std::vector<std::uint64_t> free_pages;  // ascending
  std::vector<std::uint64_t> pages_of_free_tree;
};

namespace {

// One walk. A part of the tree is walked with two more paths beside it, see WalkPart.
class FileWalk {
 public:
  using Ground = LmdbFile::Ground;
  explicit FileWalk(const Ground& ground)
      : fd_(ground.fd), file_bytes_(ground.file_bytes), meta_(ground.meta), ground_(ground) {
    if (meta_.page_bytes != 0) file_pages_ = file_bytes_ / meta_.page_bytes;
  }

  // The first look, which finds out what is true of the file.
  StoreResult<void> Look(Ground& ground) {
    RETURN_IF_ERROR(ReadMetas());
    ground.meta = meta_;
    return ReadFreePages(ground);
  }

  StoreResult<void> WalkAll(const EachEntry& each) {
    RETURN_IF_ERROR(CheckRoot());
    RETURN_IF_ERROR(MarkFreePages());
    return WalkTree(meta_.main, [&](const Node& node) -> StoreResult<void> {
      ASSIGN_OR_RETURN(const Bytes value, ReadValue(node));
      return each(node.key, value);
    });
  }

  StoreResult<void> WalkBranches() {
    RETURN_IF_ERROR(CheckRoot());
    RETURN_IF_ERROR(MarkFreePages());
    tree_ = &meta_.main;
    return WalkBranch(meta_.main.root, 1);
  }

  StoreResult<void> WalkRange(ByteView low, const std::optional<Bytes>& high, const EachEntry& each) {
    RETURN_IF_ERROR(CheckRoot());
    tree_ = &meta_.main;
    last_key_.reset();
    const EachNode in_range = [&](const Node& node) -> StoreResult<void> {
      if (Less(node.key, low) || (high && !Less(node.key, *high))) return {};
      ASSIGN_OR_RETURN(const Bytes value, ReadValue(node));
      return each(node.key, value);
    };
    return WalkPart(meta_.main.root, 1, {}, {}, Range{low, high}, in_range);
  }

 private:
  enum class PageUse : std::uint8_t { kUnknown, kUsed, kFree };
  using EachNode = std::function<StoreResult<void>(const Node& node)>;
  struct Range {
    ByteView low;
    const std::optional<Bytes>& high;
  };

  StoreResult<Bytes> ReadAt(std::uint64_t offset, std::size_t bytes) {
    Bytes buffer(bytes);
    std::size_t done = 0;
    while (done < bytes) {
      const ssize_t got = ::pread(fd_, buffer.data() + done, bytes - done, static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return SystemFailure(errno, "cannot read the store's file");
      if (got == 0) break;
      done += static_cast<std::size_t>(got);
    }
    buffer.resize(done);
    return buffer;
  }

  // Both meta pages, of which LMDB believes the newer. They are written in turn, so their numbers follow each other;
  // anything else means that one of them was altered, and perhaps that an older state would be shown.
  StoreResult<void> ReadMetas() {
    if (file_bytes_ == 0)
      return Refuse(StoreErrorKind::kHalfMade, "the store's file is empty: its making was interrupted");
    ASSIGN_OR_RETURN(const Bytes first, ReadAt(0, 4096));
    const auto meta0 = ParseMeta(first, 0);
    const std::uint64_t second_at = meta0 && IsPageSize(meta0->page_bytes) ? meta0->page_bytes : 4096;
    ASSIGN_OR_RETURN(const Bytes second, ReadAt(second_at, 4096));
    const auto meta1 = ParseMeta(second, 1);
    if (!meta0 && !meta1)
      return Refuse(StoreErrorKind::kForeign, "the file is not an LMDB database of this machine's kind");
    const bool never_committed = (!meta0 || meta0->transaction == 0) && (!meta1 || meta1->transaction == 0);
    if (meta0 && never_committed)
      return Refuse(StoreErrorKind::kHalfMade, "the store's file has never had a commit: its making was interrupted");
    if (!meta0 || !meta1 || meta0->page_bytes != meta1->page_bytes || !IsPageSize(meta0->page_bytes))
      return CorruptFailure("one of the two meta pages is damaged");
    const bool second_is_newer = meta1->transaction > meta0->transaction;
    meta_ = second_is_newer ? *meta1 : *meta0;
    const MetaPage& older = second_is_newer ? *meta0 : *meta1;
    if (meta_.transaction != older.transaction + 1 || (meta_.transaction & 1) != (second_is_newer ? 1 : 0))
      return CorruptFailure("the two meta pages do not follow each other");
    if (meta_.free.flags != kIntegerKeys || meta_.main.flags != 0)
      return Refuse(StoreErrorKind::kForeign, "the database uses features that this program does not");
    file_pages_ = file_bytes_ / meta_.page_bytes;
    return {};
  }

  // The free pages are LMDB's to write over: none may be named twice or lie outside. Pages that LMDB counts and the
  // file does not have yet must all be free.
  StoreResult<void> ReadFreePages(Ground& ground) {
    std::vector<std::uint64_t>& free_pages = ground.free_pages;
    RETURN_IF_ERROR(WalkTree(meta_.free, [&](const Node& node) -> StoreResult<void> {
      if (node.key.size() != 8) return CorruptFailure("the list of free pages has a key of another length");
      ASSIGN_OR_RETURN(const Bytes value, ReadValue(node));
      const std::uint64_t room = value.size() / 8;
      const std::uint64_t count = room == 0 ? 0 : At<std::uint64_t>(value, 0);
      if (room == 0 || count > room - 1) return CorruptFailure("the list of free pages is damaged");
      for (std::uint64_t i = 1; i <= count; ++i) free_pages.push_back(At<std::uint64_t>(value, 8 * i));
      return {};
    }));
    std::sort(free_pages.begin(), free_pages.end());
    if (std::adjacent_find(free_pages.begin(), free_pages.end()) != free_pages.end())
      return CorruptFailure("the list of free pages names a page twice");
    if (!free_pages.empty() && (free_pages.front() < 2 || free_pages.back() > meta_.last_page))
      return CorruptFailure("the list of free pages names a page that does not exist");
    const std::uint64_t pages = meta_.last_page + 1;
    const std::uint64_t missing = pages > file_pages_ ? pages - file_pages_ : 0;
    const auto first_missing = std::lower_bound(free_pages.begin(), free_pages.end(), file_pages_);
    if (pages < 2 || missing != static_cast<std::uint64_t>(free_pages.end() - first_missing))
      return CorruptFailure("the store's file is shorter than its content");
    ground.pages_of_free_tree = std::move(pages_of_free_tree_);
    FileWalk again(ground);
    return again.MarkFreePages();
  }

  StoreResult<void> MarkFreePages() {
    uses_.assign(meta_.last_page + 1, PageUse::kUnknown);
    for (const std::uint64_t page : ground_.free_pages) uses_[page] = PageUse::kFree;
    for (const std::uint64_t page : ground_.pages_of_free_tree) RETURN_IF_ERROR(Use(page, 1));
    return {};
  }

  StoreResult<void> CheckRoot() const {
    if (meta_.main.root == kNoPage)
      return Refuse(StoreErrorKind::kHalfMade, "the store's file holds nothing: its making was interrupted");
    if (meta_.main.depth == 0 || meta_.main.depth > kDepthMax) return CorruptFailure("a tree has an impossible depth");
    return {};
  }

  // Marks pages as in use, each once, and never a free one.
  StoreResult<void> Use(std::uint64_t first, std::uint64_t count) {
    // While the free tree itself is walked the table of uses does not exist yet; the walk of a part needs none.
    if (uses_.empty()) {
      for (std::uint64_t i = 0; i < count; ++i) pages_of_free_tree_.push_back(first + i);
      return {};
    }
    for (std::uint64_t page = first; page < first + count; ++page) {
      if (uses_[page] != PageUse::kUnknown) return CorruptFailure("a page is in use twice, or free and in use");
      uses_[page] = PageUse::kUsed;
    }
    return {};
  }

  StoreResult<Bytes> ReadPages(std::uint64_t first, std::uint64_t count) {
    if (first < 2 || count > file_pages_ || first > file_pages_ - count || first + count - 1 > meta_.last_page)
      return CorruptFailure("a page lies outside the store's file");
    RETURN_IF_ERROR(Use(first, count));
    ASSIGN_OR_RETURN(Bytes bytes, ReadAt(first * meta_.page_bytes, count * meta_.page_bytes));
    if (bytes.size() != count * meta_.page_bytes)
      return CorruptFailure("the store's file ends in the middle of a page");
    return bytes;
  }

  StoreResult<Bytes> ReadValue(const Node& node) {
    if ((node.flags & kBigData) == 0) return ToBytes(node.data);
    const std::uint64_t first = At<std::uint64_t>(node.data, 0);
    const std::uint64_t needed = (kPageHeaderBytes - 1 + node.data_bytes) / meta_.page_bytes + 1;
    if (first < 2 || first >= file_pages_) return CorruptFailure("a large record lies outside the store's file");
    ASSIGN_OR_RETURN(const Bytes header, ReadAt(first * meta_.page_bytes, kPageHeaderBytes));
    if (header.size() != kPageHeaderBytes || At<std::uint64_t>(header, 0) != first ||
        At<std::uint16_t>(header, 10) != kOverflowPage || At<std::uint32_t>(header, 12) < needed)
      return CorruptFailure("the page of a large record is damaged");
    ASSIGN_OR_RETURN(const Bytes pages, ReadPages(first, At<std::uint32_t>(header, 12)));
    return ToBytes(ByteView(pages).subspan(kPageHeaderBytes, node.data_bytes));
  }

  StoreResult<void> WalkTree(const Tree& tree, const EachNode& each) {
    if (tree.root == kNoPage)
      return tree.entries == 0 ? StoreResult<void>() : CorruptFailure("a tree has lost its root");
    if (tree.depth == 0 || tree.depth > kDepthMax) return CorruptFailure("a tree has an impossible depth");
    tree_ = &tree;
    last_key_.reset();
    std::uint64_t entries = 0;
    RETURN_IF_ERROR(WalkPage(tree.root, 1, {}, {}, [&](const Node& node) -> StoreResult<void> {
      ++entries;
      return each(node);
    }));
    return entries == tree.entries ? StoreResult<void>()
                                   : CorruptFailure("a tree does not have as many entries as it says");
  }

  struct Page {
    Bytes bytes;
    std::vector<Node> nodes;
    bool leaf = false;
  };
  StoreResult<Page> ReadPage(std::uint64_t number, std::uint16_t level) {
    Page page;
    ASSIGN_OR_RETURN(page.bytes, ReadPages(number, 1));
    const std::uint16_t wanted = level == tree_->depth ? kLeafPage : kBranchPage;
    if (At<std::uint64_t>(page.bytes, 0) != number || At<std::uint16_t>(page.bytes, 10) != wanted)
      return CorruptFailure("a page is not what its place in the tree says");
    page.leaf = wanted == kLeafPage;
    ASSIGN_OR_RETURN(page.nodes, ParseNodes(page.bytes, !page.leaf));
    return page;
  }
  static std::uint16_t Below(std::uint16_t level) { return static_cast<std::uint16_t>(level + 1); }

  // Every key of this page lies in [`low`, `high`), where a search for it will look; an absent bound is no bound.
  StoreResult<void> WalkPage(std::uint64_t number, std::uint16_t level, const std::optional<Bytes>& low,
                             const std::optional<Bytes>& high, const EachNode& each) {
    ASSIGN_OR_RETURN(const Page page, ReadPage(number, level));
    if (page.leaf) return VisitLeaf(page.nodes, low, high, each);
    for (std::size_t i = 0; i < page.nodes.size(); ++i) {
      const auto [child_low, child_high] = BoundsOfChild(page, i, low, high);
      RETURN_IF_ERROR(WalkPage(page.nodes[i].child, Below(level), child_low, child_high, each));
    }
    return {};
  }

  // The first key of a branch is never looked at.
  static std::array<std::optional<Bytes>, 2> BoundsOfChild(const Page& page, std::size_t i,
                                                           const std::optional<Bytes>& low,
                                                           const std::optional<Bytes>& high) {
    return {i == 0 ? low : std::optional(ToBytes(page.nodes[i].key)),
            i + 1 == page.nodes.size() ? high : std::optional(ToBytes(page.nodes[i + 1].key))};
  }

  // The branches alone: what they say is in use is neither free nor in use twice.
  StoreResult<void> WalkBranch(std::uint64_t number, std::uint16_t level) {
    if (level == tree_->depth) return UseInside(number);
    ASSIGN_OR_RETURN(const Page page, ReadPage(number, level));
    for (const Node& node : page.nodes) RETURN_IF_ERROR(WalkBranch(node.child, Below(level)));
    return {};
  }

  // The pages whose keys meet `range`. LMDB looks beyond it, too: at the leaf on either side when it looks for the next
  // entry or evens pages out, and at the lowest key below a branch. So those paths are walked as well, for their
  // structure.
  StoreResult<void> WalkPart(std::uint64_t number, std::uint16_t level, const std::optional<Bytes>& low,
                             const std::optional<Bytes>& high, const Range& range, const EachNode& each) {
    ASSIGN_OR_RETURN(const Page page, ReadPage(number, level));
    if (page.leaf) return VisitLeaf(page.nodes, low, high, each);
    std::size_t first = 0, end = page.nodes.size();
    while (first + 1 < end && !Less(range.low, page.nodes[first + 1].key)) ++first;
    while (end - 1 > first && range.high && !Less(page.nodes[end - 1].key, *range.high)) --end;
    if (page.nodes.empty()) return CorruptFailure("a branch has no children");
    if (first > 1) RETURN_IF_ERROR(WalkEdge(page.nodes[0].child, Below(level), false));
    if (first > 0) RETURN_IF_ERROR(WalkEdge(page.nodes[first - 1].child, Below(level), true));
    for (std::size_t i = first; i < end; ++i) {
      const auto [child_low, child_high] = BoundsOfChild(page, i, low, high);
      RETURN_IF_ERROR(WalkPart(page.nodes[i].child, Below(level), child_low, child_high, range, each));
    }
    if (end < page.nodes.size()) return WalkEdge(page.nodes[end].child, Below(level), false);
    return {};
  }

  // The path down the first children, and down the last ones, too, if `both`.
  StoreResult<void> WalkEdge(std::uint64_t number, std::uint16_t level, bool both) {
    ASSIGN_OR_RETURN(const Page page, ReadPage(number, level));
    if (page.leaf) return {};
    if (page.nodes.empty()) return CorruptFailure("a branch has no children");
    RETURN_IF_ERROR(WalkEdge(page.nodes.front().child, Below(level), false));
    return both && page.nodes.size() > 1 ? WalkEdge(page.nodes.back().child, Below(level), true) : StoreResult<void>();
  }

  StoreResult<void> UseInside(std::uint64_t number) {
    if (number < 2 || number >= file_pages_ || number > meta_.last_page)
      return CorruptFailure("a page lies outside the store's file");
    return Use(number, 1);
  }

  StoreResult<void> VisitLeaf(const std::vector<Node>& nodes, const std::optional<Bytes>& low,
                              const std::optional<Bytes>& high, const EachNode& each) {
    for (const Node& node : nodes) {
      const bool in_place = (!low || !Less(node.key, *low)) && (!high || Less(node.key, *high)) &&
                            (!last_key_ || Less(*last_key_, node.key));
      if (!in_place) return CorruptFailure("a key is not where a search would look for it");
      last_key_ = ToBytes(node.key);
      RETURN_IF_ERROR(each(node));
    }
    return {};
  }

  bool Less(ByteView a, ByteView b) const {
    if (tree_->flags == kIntegerKeys && a.size() == 8 && b.size() == 8)
      return At<std::uint64_t>(a, 0) < At<std::uint64_t>(b, 0);
    return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
  }

  // The nodes of a page in the order of their keys. They lie between the page's upper mark and its end without touching
  // each other, or the next change to the page would write over one.
  StoreResult<std::vector<Node>> ParseNodes(ByteView page, bool branch) {
    const std::size_t lower = At<std::uint16_t>(page, 12);
    const std::size_t upper = At<std::uint16_t>(page, 14);
    if (lower < kPageHeaderBytes + 2 || lower % 2 != 0 || lower > upper || upper > page.size())
      return CorruptFailure("a page is damaged");
    std::vector<Node> nodes;
    std::vector<std::array<std::size_t, 2>> extents;
    for (std::size_t at = kPageHeaderBytes; at < lower; at += 2) {
      const std::size_t offset = At<std::uint16_t>(page, at);
      if (offset < upper || offset % 2 != 0 || offset > page.size() - kNodeHeaderBytes)
        return CorruptFailure("a page points outside itself");
      ASSIGN_OR_RETURN(const Node node, ParseNode(page.subspan(offset), branch, nodes.empty()));
      extents.push_back({offset, offset + kNodeHeaderBytes + node.key.size() + node.data.size()});
      nodes.push_back(node);
    }
    std::sort(extents.begin(), extents.end());
    for (std::size_t i = 1; i < extents.size(); ++i)
      if (extents[i][0] < extents[i - 1][1]) return CorruptFailure("two entries of a page lie over each other");
    return nodes;
  }

  StoreResult<Node> ParseNode(ByteView bytes, bool branch, bool first) {
    const std::uint64_t low = At<std::uint16_t>(bytes, 0);
    const std::uint64_t high = At<std::uint16_t>(bytes, 2);
    const std::uint16_t flags = At<std::uint16_t>(bytes, 4);
    const std::size_t key_bytes = At<std::uint16_t>(bytes, 6);
    Node node;
    if (key_bytes > kKeyBytesBound || key_bytes > bytes.size() - kNodeHeaderBytes ||
        (key_bytes == 0 && !(branch && first)))
      return CorruptFailure("a key has an impossible length");
    node.key = bytes.subspan(kNodeHeaderBytes, key_bytes);
    if (branch) {
      node.child = low | (high << 16) | (static_cast<std::uint64_t>(flags) << 32);
      return node;
    }
    node.flags = flags;
    node.data_bytes = static_cast<std::uint32_t>(low | (high << 16));
    if ((flags & ~kBigData) != 0) return CorruptFailure("an entry has flags that the store does not use");
    const std::size_t here = (flags & kBigData) != 0 ? 8 : node.data_bytes;
    if (here > bytes.size() - kNodeHeaderBytes - key_bytes) return CorruptFailure("a value reaches beyond its page");
    node.data = bytes.subspan(kNodeHeaderBytes + key_bytes, here);
    return node;
  }

  int fd_;
  std::uint64_t file_bytes_;
  std::uint64_t file_pages_ = 0;
  MetaPage meta_;
  const Ground& ground_;
  const Tree* tree_ = nullptr;
  std::optional<Bytes> last_key_;
  std::vector<std::uint64_t> pages_of_free_tree_;
  std::vector<PageUse> uses_;
};

}  // namespace

LmdbFile::LmdbFile(std::unique_ptr<Ground> ground) : ground_(std::move(ground)) {}
LmdbFile::~LmdbFile() = default;

StoreResult<std::unique_ptr<LmdbFile>> LmdbFile::Open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return SystemFailure(errno, "cannot open " + path);
  auto ground = std::make_unique<Ground>();
  ground->fd = fd;
  struct stat status {};
  if (::fstat(fd, &status) != 0) return SystemFailure(errno, "cannot look at " + path);
  ground->file_bytes = static_cast<std::uint64_t>(status.st_size);
  RETURN_IF_ERROR(FileWalk(*ground).Look(*ground));
  return std::unique_ptr<LmdbFile>(new LmdbFile(std::move(ground)));
}

LmdbFileFacts LmdbFile::facts() const {
  const MetaPage& meta = ground_->meta;
  return {meta.transaction, meta.page_bytes, meta.last_page + 1, meta.main.entries};
}

StoreResult<void> LmdbFile::Walk(const EachEntry& each) const { return FileWalk(*ground_).WalkAll(each); }
StoreResult<void> LmdbFile::WalkBranches() const { return FileWalk(*ground_).WalkBranches(); }
StoreResult<void> LmdbFile::WalkRange(ByteView low, const std::optional<Bytes>& high, const EachEntry& each) const {
  return FileWalk(*ground_).WalkRange(low, high, each);
}

}  // namespace cmkd::store
