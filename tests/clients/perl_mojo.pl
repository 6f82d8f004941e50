#!/usr/bin/env perl
# The client of Mojolicious.

use v5.30;
use warnings;
use utf8;
use open qw(:std :encoding(UTF-8));

use Mojo::IOLoop;
use Mojo::Transaction::WebSocket;
use Mojo::UserAgent;
use Mojo::Util qw(encode);
use Mojo::WebSocket qw(WS_CONTINUATION WS_PING WS_TEXT);
use Mojolicious;

my $TEXT = 'Hello, wörld €';
my $AGAIN = 'the text of a message that comes again';
my ($url, $ca) = @ARGV;
my $agent = Mojo::UserAgent->new(ca => $ca, max_response_size => 0);

say 'version: ', Mojolicious->VERSION;
my $socket = open_socket('/echo');
say 'extensions: ', $socket->{tx}->res->headers->sec_websocket_extensions // 'none';
my $large = substr join('', map {"line $_ of a large message\n"} 0 .. 50_000), 0, 1024 * 1024;
echo($socket, 'text', $TEXT, "text $TEXT");
my $bytes = join '', map {chr} 0 .. 255;
echo($socket, 'binary', {binary => $bytes}, "binary $bytes");
echo($socket, 'empty', '', 'text ');
echo($socket, 'large', $large, "text $large");

# The first frame of a message has its opcode, and the last one its FIN bit.
$socket->{tx}->send([0, 0, 0, 0, WS_TEXT, 'Hel']);
$socket->{tx}->send([0, 0, 0, 0, WS_CONTINUATION, '']);
$socket->{tx}->send([1, 0, 0, 0, WS_CONTINUATION, encode('UTF-8', 'lo, wörld €')]);
expect('fragments', next_event($socket), "text $TEXT");
$socket->{tx}->send([1, 0, 0, 0, WS_PING, 'are you there']);
expect('ping', next_event($socket), 'pong are you there');
my $is_over;
Mojo::IOLoop->timer(3 => sub { $is_over = 1 });
Mojo::IOLoop->one_tick until $is_over;
echo($socket, 'idle', $TEXT, "text $TEXT");
$socket->{tx}->finish(1000);
expect('close 1000', next_event($socket), 'close 1000 ');

$socket = open_socket('/echo_takeover');
$socket->{tx}->send($AGAIN) for 1 .. 3;
expect('takeover', join('', map { next_event($socket) } 1 .. 3), "text $AGAIN" x 3);
$socket = open_socket('/echo', ['chat', 'echo']);
expect('subprotocol', $socket->{tx}->protocol, 'echo');
$socket = open_socket('/close');
$socket->{tx}->finish(4000, 'going home');
expect('close 4000', next_event($socket), 'close 4000 going home');
$socket = open_socket('/close');
$socket->{tx}->send('4001 lunch');
expect('server closes', next_event($socket), 'close 4001 lunch');

# A WebSocket, and what comes there as texts that begin with its kind.
sub open_socket {
    my ($path, $protocols) = @_;
    my %socket = (events => []);
    my $headers = {'Sec-WebSocket-Extensions' => 'permessage-deflate'};
    $agent->websocket(
        "$url$path" => $headers => $protocols // [] => sub {
            my ($agent, $tx) = @_;
            die "no WebSocket at $path: ", $tx->res->code // '', "\n" unless $tx->is_websocket;
            $socket{tx} = $tx->max_websocket_size(2 * 1024 * 1024);
            $tx->on(text   => sub { push @{$socket{events}}, 'text ' . Mojo::Util::decode('UTF-8', $_[1]) });
            $tx->on(binary => sub { push @{$socket{events}}, "binary $_[1]" });
            $tx->on(frame  => sub { push @{$socket{events}}, "pong $_[1][5]" if $_[1][4] == 10 });
            $tx->on(finish => sub { push @{$socket{events}}, "close $_[1] " . ($_[2] // '') });
        }
    );
    Mojo::IOLoop->one_tick until $socket{tx};
    return \%socket;
}

sub next_event {
    my ($socket) = @_;
    Mojo::IOLoop->one_tick until @{$socket->{events}};
    return shift @{$socket->{events}};
}

sub echo {
    my ($socket, $check, $message, $wanted) = @_;
    $socket->{tx}->send($message);
    expect($check, next_event($socket), $wanted);
}

sub expect {
    my ($check, $found, $wanted) = @_;
    my $failure = sprintf 'failed, `%.80s` instead of `%.80s`', $found // 'nothing', $wanted;
    say "$check: ", ($found // '') eq $wanted ? 'ok' : $failure;
}
