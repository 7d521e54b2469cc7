/* Prints the first address of a name, by the C library's own resolver. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

int main(int argc, char **argv) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
  char text[INET6_ADDRSTRLEN];
  int failure = getaddrinfo(argc > 1 ? argv[1] : "", NULL, &hints, &found);
  if (failure != 0) {
    puts(gai_strerror(failure));
    return 1;
  }
  if (getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) != 0) return 2;
  puts(text);
  return 0;
}
