#include "data/tar.h"

#include <gtest/gtest.h>

#include <functional>

#include "minim/runtime/error.h"
#include "model/data/tar_files.h"
#include "scratch_directory.h"

namespace minim {
namespace {

using testing::append_member;
using testing::Bytes;
using testing::bytes_of;
using testing::end_archive;
using testing::ScratchDirectory;
using testing::tar_header;

/// Members as "NAME=CONTENT".
std::vector<std::string> members_of(const Bytes& tar) {
  const ScratchDirectory scratch;
  testing::write_raw(scratch.path() / "a.tar", tar);
  const RandomAccessFile file(scratch.path() / "a.tar");
  std::vector<std::string> members;
  TarWalk walk(file);
  while (const auto member = walk.next()) {
    Bytes content(static_cast<std::size_t>(member->size_bytes));
    file.read(member->offset, content, "a member");
    members.push_back(member->name + "=" + std::string(content.begin(), content.end()));
    const auto again = TarWalk(file, member->header_offset).next();
    EXPECT_EQ(again->name, member->name);
    EXPECT_EQ(again->offset, member->offset);
  }
  return members;
}

std::string refusal(const Bytes& tar) {
  try {
    members_of(tar);
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

TEST(Tar, RegularFilesAreFoundAmongOthers) {
  Bytes tar;
  append_member(tar, "d/", {}, '5');
  append_member(tar, "d/empty", {});
  append_member(tar, "link", {}, '2');
  append_member(tar, "old", bytes_of("x"), '\0');
  append_member(tar, "block", Bytes(512, 'b'));
  append_member(tar, tar_header("name", 3, '0', "some/long/prefix"), bytes_of("abc"));
  end_archive(tar);
  EXPECT_EQ(members_of(tar),
            (std::vector<std::string>{"d/empty=", "old=x", "block=" + std::string(512, 'b'), "some/long/prefix/name=abc"}));
}

TEST(Tar, ExtendedHeadersSayTheNameAndSizeOfTheNextMember) {
  const std::string name = std::string(200, 'n') + ".jpg";
  Bytes tar;
  append_member(tar, "global", bytes_of("19 comment=ignored\n"), 'g');
  append_member(tar, "pax", bytes_of("214 path=" + name + "\n20 mtime=1234567.25\n"), 'x');
  append_member(tar, "short", bytes_of("1"));
  append_member(tar, "pax", bytes_of("10 size=3\n"), 'x');
  append_member(tar, tar_header("sized", 0), bytes_of("abc"));
  append_member(tar, "././@LongLink", bytes_of(name + '\0'), 'L');
  append_member(tar, "short", bytes_of("2"));
  append_member(tar, "plain", bytes_of("3"));
  end_archive(tar);
  EXPECT_EQ(members_of(tar), (std::vector<std::string>{name + "=1", "sized=abc", name + "=2", "plain=3"}));
}

TEST(Tar, LargeSizesMayBeBinary) {
  Bytes header = tar_header("binary", 0);
  for (std::size_t i = 124; i < 136; ++i) header[i] = 0;
  header[124] = 0x80;
  header[135] = 2;
  testing::sign(header);
  Bytes tar;
  append_member(tar, header, bytes_of("ab"));
  end_archive(tar);
  EXPECT_EQ(members_of(tar), std::vector<std::string>{"binary=ab"});
}

TEST(Tar, CutsBeforeTheEndOfTheArchiveAreRefused) {
  Bytes tar;
  append_member(tar, "pax", bytes_of("15 path=longer\n"), 'x');
  append_member(tar, "a", Bytes(700, 'a'));
  append_member(tar, "b", bytes_of("b"));
  const std::size_t members = tar.size();
  end_archive(tar);
  for (std::size_t size = 0; size < members + testing::kTarBlock; size += 32) {  // and so at the ends of blocks
    const std::string text = refusal(Bytes(tar.begin(), tar.begin() + static_cast<std::ptrdiff_t>(size)));
    EXPECT_NE(text.find("a.tar: offset "), std::string::npos) << size;
  }
  EXPECT_EQ(refusal(tar), "");
}

TEST(Tar, FalseClaimsAreRefusedByOffset) {
  const auto changed = [](const std::function<void(Bytes&)>& change) {
    Bytes header = tar_header("b", 3);
    change(header);
    testing::sign(header);
    Bytes tar;
    append_member(tar, "a", bytes_of("a"));
    append_member(tar, header, bytes_of("bbb"));
    end_archive(tar);
    return refusal(tar);
  };
  EXPECT_EQ(changed([](Bytes&) {}), "");
  EXPECT_NE(changed([](Bytes& h) { h[130] = '9'; }).find("offset 1148: the size of a member is not a number"), std::string::npos);
  EXPECT_NE(changed([](Bytes& h) { h[130] = '7'; }).find("offset 1024: a member of "), std::string::npos);
  EXPECT_NE(changed([](Bytes& h) { std::fill_n(h.begin() + 124, 12, 0xFF); }).find("is not a number"), std::string::npos);
  EXPECT_NE(changed([](Bytes& h) { h[156] = 'x'; }).find("offset 1536: found no record"), std::string::npos);
  Bytes tar;
  append_member(tar, "a", bytes_of("a"));
  tar[3] ^= 1;
  end_archive(tar);
  EXPECT_NE(refusal(tar).find("offset 0: found no tar header"), std::string::npos);
  Bytes large;
  append_member(large, "pax", Bytes((1 << 20) + 1), 'x');
  end_archive(large);
  EXPECT_NE(refusal(large).find("an extended header of 1048577 bytes"), std::string::npos);
}

TEST(Tar, RecordsOfExtendedHeadersAreChecked) {
  for (const char* records :
       {"x", "5", "99999999999999999999 a=b\n", "3 a", "2 ", "0 a=b\n", "12 size=many\n", "11 size=-3\n", "30 path=short\n"}) {
    Bytes tar;
    append_member(tar, "pax", bytes_of(records), 'x');
    append_member(tar, "a", bytes_of("a"));
    end_archive(tar);
    EXPECT_NE(refusal(tar).find("offset 512: "), std::string::npos) << records << ": " << refusal(tar);
  }
}

}  // namespace
}  // namespace minim
