<?php
// Written by aloft. Sees to it that the wiki has its administrator. The order
// comes as JSON on the standard input; the password of one who is there is
// changed only if the order says so.

require_once getenv( 'ALOFT_MEDIAWIKI' ) . '/maintenance/Maintenance.php';

class AloftAdministrator extends Maintenance {
	public function execute() {
		$order = json_decode( stream_get_contents( STDIN ), true, 16, JSON_THROW_ON_ERROR );
		$services = MediaWiki\MediaWikiServices::getInstance();
		$user = $services->getUserFactory()->newFromName( $order['adminUser'], MediaWiki\User\UserRigorOptions::RIGOR_CREATABLE );
		if ( !$user ) {
			$this->fatalError( 'adminUser is not the name that a user of the wiki can have' );
		}
		$there = $user->isRegistered();
		if ( !$there ) {
			$status = $user->addToDatabase();
			if ( !$status->isOK() ) {
				$this->fatalError( $status->getMessage( false, false, 'en' )->text() );
			}
		}
		if ( !$there || $order['change'] ) {
			$status = $user->changeAuthenticationData( [
				'username' => $user->getName(), 'password' => $order['adminPassword'], 'retype' => $order['adminPassword'],
			] );
			if ( !$status->isGood() ) {
				$this->fatalError( 'the password of the administrator: ' . $status->getMessage( false, false, 'en' )->text() );
			}
		}
		$groups = $services->getUserGroupManager();
		foreach ( [ 'sysop', 'bureaucrat', 'interface-admin' ] as $group ) {
			$groups->addUserToGroup( $user, $group, null, true );
		}
	}
}

$maintClass = AloftAdministrator::class;
require_once RUN_MAINTENANCE_IF_MAIN;
