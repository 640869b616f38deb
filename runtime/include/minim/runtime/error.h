#pragma once

#include <stdexcept>
#include <string>

namespace minim {

/// Base of everything that minim throws. The text says what was found and what was wanted.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The caller broke the contract of a function; nothing has changed.
class InvalidArgument : public Error {
 public:
  using Error::Error;
};

/// A file or a record in it is not what it claims to be. Names the file, the offset and what was expected there.
class DataError : public Error {
 public:
  using Error::Error;
};

/// A peer failed, was silent beyond the deadline, or called another collective. Names the rank and the collective.
class CommError : public Error {
 public:
  using Error::Error;
};

/// The device is lost or refused an operation, out of memory included.
class DeviceError : public Error {
 public:
  using Error::Error;
};

/// Training cannot go on: for example, gradients stay non-finite at a loss scale that cannot fall.
class NumericError : public Error {
 public:
  using Error::Error;
};

}  // namespace minim
