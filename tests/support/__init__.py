"""What tests share: servers, fakes, browsers, clients."""
