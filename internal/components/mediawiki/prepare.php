<?php
// Written by aloft. Makes the database of a wiki, once, however many machines
// of the wiki begin at the same time and whatever ended one of them before. The
// order comes as JSON on the standard input; no secret is in an argument.

function fail( string $what ): never {
	fwrite( STDERR, "$what\n" );
	exit( 1 );
}

// run runs one of MediaWiki's own programs, with texts on descriptors from 3 on.
function run( array $command, array $texts, array $env ): int {
	$pipes = [];
	$files = [ 0 => [ 'file', '/dev/null', 'r' ], 1 => STDOUT, 2 => STDERR ];
	foreach ( $texts as $n => $text ) {
		$files[3 + $n] = [ 'pipe', 'r' ];
	}
	$process = proc_open( $command, $files, $pipes, '/', $env + getenv() );
	if ( $process === false ) {
		fail( "cannot run $command[1]" );
	}
	foreach ( $texts as $n => $text ) {
		fwrite( $pipes[3 + $n], $text );
		fclose( $pipes[3 + $n] );
	}
	return proc_close( $process );
}

$order = json_decode( stream_get_contents( STDIN ), true, 16, JSON_THROW_ON_ERROR );
$name = $order['database'];
mysqli_report( MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT );
try {
	$db = mysqli_init();
	$db->options( MYSQLI_OPT_CONNECT_TIMEOUT, 10 );
	$db->real_connect( $order['host'], $order['user'], $order['password'], null, $order['port'] );
	// The lock goes with the connection, so also when this process dies.
	if ( $db->query( "SELECT GET_LOCK('aloft-mediawiki', 280)" )->fetch_row()[0] != 1 ) {
		fail( 'another machine has been making the wiki for minutes' );
	}
	$db->query( "CREATE DATABASE IF NOT EXISTS `$name` CHARACTER SET binary" );
	$db->select_db( $name );
	$tables = array_column( $db->query( 'SHOW TABLES' )->fetch_all(), 0 );
	$state = null;
	if ( in_array( 'aloft_wiki', $tables ) ) {
		$state = $db->query( 'SELECT state, version FROM aloft_wiki' )->fetch_assoc();
	}
	$tables = array_values( array_diff( $tables, [ 'aloft_wiki' ] ) );
	if ( $state === null && $tables !== [] && !in_array( 'page', $tables ) ) {
		fail( "the database $name is not empty, and no wiki's" );
	}
	if ( $state === null ) {
		$db->query( 'CREATE TABLE IF NOT EXISTS aloft_wiki (one INT PRIMARY KEY, state VARBINARY(20), version VARBINARY(40)) ENGINE=InnoDB' );
	}
	$note = static function ( string $state, string $version ) use ( $db ) {
		$q = $db->prepare( 'REPLACE INTO aloft_wiki (one, state, version) VALUES (1, ?, ?)' );
		$q->bind_param( 'ss', $state, $version );
		$q->execute();
	};
	if ( $state === null && $tables !== [] ) {
		echo "the database has a wiki already, which is taken over\n";
		$note( 'made', '' );
		$state = [ 'state' => 'made', 'version' => '' ];
	}
	if ( $state === null || $state['state'] !== 'made' ) {
		// What an attempt that was cut off has left is in the way of the next.
		$db->query( 'SET FOREIGN_KEY_CHECKS=0' );
		foreach ( $tables as $table ) {
			$db->query( 'DROP TABLE `' . str_replace( '`', '``', $table ) . '`' );
		}
		$note( 'making', $order['version'] );
		$host = str_contains( $order['host'], ':' ) ? "[{$order['host']}]" : $order['host'];
		$status = run( [
			PHP_BINARY, $order['program'] . '/maintenance/install.php',
			'--dbtype=mysql', "--dbserver=$host:{$order['port']}", "--dbname=$name", "--dbuser={$order['user']}",
			'--dbpassfile=php://fd/3', '--passfile=php://fd/4',
			"--scriptpath={$order['path']}", "--server={$order['server']}", "--confpath={$order['scratch']}", '--lang=en',
			'--', $order['siteName'], $order['adminUser'],
		], [ $order['password'], $order['adminPassword'] ], [ 'MW_CONFIG_FILE' => $order['scratch'] . '/none.php' ] );
		@unlink( $order['scratch'] . '/LocalSettings.php' );
		if ( $status !== 0 ) {
			fail( 'the installer of MediaWiki failed: what it said is above' );
		}
		$note( 'made', $order['version'] );
	} elseif ( $state['version'] !== $order['version'] ) {
		if ( run( [ PHP_BINARY, $order['program'] . '/maintenance/update.php', '--quick' ], [], [ 'MW_CONFIG_FILE' => $order['config'] ] ) !== 0 ) {
			fail( "the tables could not be changed from version '{$state['version']}' to {$order['version']}: see above" );
		}
		$note( 'made', $order['version'] );
	}
} catch ( mysqli_sql_exception $e ) {
	fail( "the database at {$order['host']}:{$order['port']}: " . $e->getMessage() );
}
