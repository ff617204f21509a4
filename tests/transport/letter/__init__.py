"""The protocol to the letter: RFC 6455 as tables of bytes and answers, and as other implementations understand it."""
