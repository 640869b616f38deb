#include <gtest/gtest.h>

#include "minim/model/data/dataset.h"

namespace minim {
namespace {

std::string refusal(const DatasetOptions& options) {
  try {
    open_dataset(options, Split::train);
  } catch (const InvalidArgument& error) {
    return error.what();
  }
  return "";
}

TEST(OpenDataset, UnknownNamesListTheKnownOnes) {
  EXPECT_NE(
      refusal({.name = "imagenet"}).find("fashion-mnist, mnist, cifar-10, cifar-100, image-folder, webdataset or synthetic"),
      std::string::npos);
}

TEST(OpenDataset, WantsADirectoryWhereThereIsNoUsualOne) {
  for (const char* name : {"mnist", "cifar-10", "cifar-100", "image-folder", "webdataset"}) {
    EXPECT_NE(refusal({.name = name}).find(name + std::string("\" has no default directory")), std::string::npos) << name;
  }
}

TEST(OpenDataset, FindsFashionMnistWhereDebianPutsIt) {
  const auto train = open_dataset({.name = "fashion-mnist"}, Split::train);
  EXPECT_EQ(train->size(), 60000);
  EXPECT_EQ(train->task().height, 28);
  const auto test = open_dataset({.name = "fashion-mnist"}, Split::test);
  EXPECT_EQ(test->size(), 10000);
  std::vector<float> image(28 * 28);
  EXPECT_EQ(train->read(0, image), 9);  // an ankle boot
}

}  // namespace
}  // namespace minim
